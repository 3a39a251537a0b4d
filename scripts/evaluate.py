"""Measure a trained run again, on its test part: python -m scripts.evaluate RUN."""

import dataclasses
import pathlib

from scripts import settings
from scripts.recipes import find, load_data
from scripts.training import command_line, run_folder, untrusted


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.evaluate", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    places = ("data_dir", "download_dir")  # as in training, where these are still there
    settings.add_options(parser, *places)
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        name, trained = run_folder.read_run(options.run)
        recipe, folder = find(name), pathlib.Path(options.run)
        recorded = untrusted.figures(folder / "metrics.json")
        given = {}
        for place in places:
            own = getattr(trained, place)
            if own is not None and not pathlib.Path(own).is_dir():
                own = None  # nothing is made where somebody else's run says
            given[place] = getattr(options, place) or own
        from scripts.data.prepare import damaged_files_named

        with damaged_files_named():
            data = load_data(recipe, dataclasses.replace(trained, **given))
            model = run_folder.load_model(folder)
            figures = model.evaluate(data.test, return_dict=True, verbose=0)
            figures |= recipe.measure(model, data)
        for name, value in figures.items():
            print(f"test {name} {value:.6f} (recorded: {recorded[name]:.6f})")


if __name__ == "__main__":
    main()
