"""Translate with a trained run: python -m scripts.translate RUN TEXT ..."""

import argparse
import pathlib

import numpy as np

from scripts.training import command_line, run_folder, untrusted

BEAMS = 4
UNKNOWN = 1  # id of any symbol that the vocabulary lacks


def symbols(ids, vocabulary):
    """The symbols of each row of ids, without padding."""
    return [[vocabulary[i] for i in row if i > 0] for row in ids]


def decode(model, sources, start, end, length, beams):
    """Translations of batches of source ids, as one list of rows of ids."""
    from models.seq2seq import decoder, encoder, translate

    parts = encoder(model), decoder(model)
    options = {"start": start, "end": end, "length": length, "beams": beams}
    longest = max(source.shape[1] for source in sources)
    rows = []
    for source in sources:  # all of one length: each other one would be traced again
        source = np.pad(source, [(0, 0), (0, longest - source.shape[1])])
        rows.extend(translate(*parts, source, **options))
    return rows


def measure(model, data):
    """BLEU and the share of exact translations of the test part, by beam search and greedy."""
    from scripts.tasks.bleu import bleu

    sources, references = read(data.test, data)
    figures = {}
    for suffix, beams in (("", BEAMS), ("_greedy", 1)):
        ids = decode(model, sources, data.start, data.end, data.length, beams)
        ours = symbols(ids, data.target)
        exact = [a == b for a, b in zip(ours, references, strict=True)]
        figures[f"bleu{suffix}"] = bleu(ours, references)
        figures[f"exact{suffix}"] = float(np.mean(exact))
    return figures


def read(part, data):
    """Source ids by batch, and all targets as symbols."""
    batches = list(part.as_numpy_iterator())
    references = [
        row for _, y in batches for row in symbols(np.where(y == data.end, 0, y), data.target)
    ]
    return [source for (source, _), _ in batches], references


def memory(data):
    """The rival: the translation of the most similar source in the training part, its BLEU and its
    share of exact ones. Similar is what shares runs of one to three symbols."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from scripts.tasks.bleu import bleu, grams

    def runs_of_symbols(row):
        row = [int(i) for i in row if i > 0]
        return [gram for n in (1, 2, 3) for gram in grams(row, n).elements()]

    sources, targets = read(data.train, data)
    known = TfidfVectorizer(analyzer=runs_of_symbols)
    matrix = known.fit_transform([row for batch in sources for row in batch])
    batches, references = read(data.test, data)
    ours = []
    for batch in batches:
        nearest = np.asarray((known.transform(batch) @ matrix.T).argmax(axis=1)).ravel()
        ours += [targets[i] for i in nearest]
    exact = [a == b for a, b in zip(ours, references, strict=True)]
    return {"bleu": bleu(ours, references), "exact": float(np.mean(exact))}


def baseline(figure, data):
    return "most similar source", memory(data)[figure]


def pictures(model, data):
    from scripts.tasks.sequence_plots import translations

    sources, references = read(data.test.take(8), data)
    ids = decode(model, sources, data.start, data.end, data.length, BEAMS)
    given = [row for batch in sources for row in symbols(batch, data.source)]
    given = [join(row, data.symbols[0]) for row in given]
    texts = (symbols(ids, data.target), references)
    texts = [[join(row, data.symbols[1]) for row in rows] for rows in texts]
    return {"translations.png": translations(given, *texts, f"{data.name}, test")}


def join(pieces, kind):
    """Symbols as text: words with spaces between them, characters without."""
    return (" " if kind == "word" else "").join(pieces)


def main(arguments=None):
    parser = command_line.Parser(
        prog="python -m scripts.translate",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="in the source language")
    parser.add_argument("--beams", type=command_line.count, default=BEAMS, help="1 is greedy")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        run_folder.read_run(options.run)
        file = pathlib.Path(options.run) / "vocabulary.json"
        try:
            vocabulary = untrusted.read_json(file) if file.exists() else None
            source, target = vocabulary["source"], vocabulary["target"]
            kinds = vocabulary["symbols"]
        except (TypeError, KeyError) as error:
            raise command_line.InputError(f"{options.run} is no run that translates") from error
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
