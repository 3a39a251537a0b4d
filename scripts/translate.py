"""Translate with a trained run: python -m scripts.translate RUN TEXT ..."""

import pathlib

import numpy as np

from scripts.training import command_line, run_folder, untrusted


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.translate", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="in the source language")
    parser.add_argument("--beams", type=command_line.count, default=4, help="1 is greedy")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        run_folder.read_run(options.run)
        file = pathlib.Path(options.run) / "vocabulary.json"
        try:
            vocabulary = untrusted.read_json(file) if file.exists() else None
            source, target = vocabulary["source"], vocabulary["target"]
            kinds = vocabulary["symbols"]
        except (TypeError, KeyError) as error:
            raise command_line.InputError(
                f"{options.run} is not the run of a translation"
            ) from error
        untrusted.check_model(pathlib.Path(options.run) / "model.keras")
        from scripts.tasks.translation import UNKNOWN, decode, join, symbols

        model = run_folder.load_model(options.run)
        texts = [text.split() if kinds[0] == "word" else list(text) for text in options.texts]
        ids = np.zeros((len(texts), max(1, *map(len, texts))), "int32")
        for row, pieces in zip(ids, texts, strict=True):
            row[: len(pieces)] = [source.index(p) if p in source else UNKNOWN for p in pieces]
        rows = decode(
            model, [ids], len(target), len(target) + 1, vocabulary["length"], options.beams
        )
        for pieces in symbols(rows, target):
            print(join(pieces, kinds[1]))


if __name__ == "__main__":
    main()
