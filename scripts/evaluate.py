"""Measure a trained run again, on its test part: python -m scripts.evaluate RUN."""

import json
import pathlib

from scripts import command, runs
from scripts.train import find, load_data


def main(arguments=None):
    parser = command.Parser(prog="python -m scripts.evaluate", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument("--data-dir", help="prepared data (default: as in training)")
    parser.add_argument("--download-dir", help="files as downloaded (default: as in training)")
    with command.one_line_errors():
        options = parser.parse_args(arguments)
        run = runs.read_run(options.run)
        settings, recipe = run["settings"], find(run["recipe"])
        for key in ("data_dir", "download_dir"):
            settings[key] = getattr(options, key) or settings[key]
        data = load_data(recipe, settings)
        model = runs.load_model(options.run)
        figures = model.evaluate(data.test, return_dict=True, verbose=0)
        figures |= recipe.measure(model, data)
        recorded = json.loads((pathlib.Path(options.run) / "metrics.json").read_text())["test"]
        for name, value in figures.items():
            print(f"test {name} {value:.6f} (recorded: {recorded[name]:.6f})")


if __name__ == "__main__":
    main()
