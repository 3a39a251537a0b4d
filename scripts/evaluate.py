"""Measure a trained run again, on its test part: python -m scripts.evaluate RUN."""

import pathlib

from scripts.data import damage
from scripts.train import find, load_data
from scripts.training import command_line, run_folder, untrusted


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.evaluate", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument("--data-dir", help="prepared data (default: as in training, if there)")
    parser.add_argument(
        "--download-dir", help="files as downloaded (default: as in training, if there)"
    )
    with command_line.one_line_errors(), damage.told_by_file():
        options = parser.parse_args(arguments)
        run = run_folder.read_run(options.run)
        settings, recipe = run["settings"], find(run["recipe"])
        recorded = untrusted.figures(pathlib.Path(options.run) / "metrics.json")
        for key in ("data_dir", "download_dir"):
            own = settings[key]
            if own is not None and not pathlib.Path(own).is_dir():
                own = None  # nothing is made where the run of a stranger says
            settings[key] = getattr(options, key) or own
        data = load_data(recipe, settings)
        model = run_folder.load_model(options.run)
        figures = model.evaluate(data.test, return_dict=True, verbose=0)
        figures |= recipe.measure(model, data)
        for name, value in figures.items():
            print(f"test {name} {value:.6f} (recorded: {recorded[name]:.6f})")


if __name__ == "__main__":
    main()
