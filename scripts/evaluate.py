"""Measure a trained run again, on its test part: python -m scripts.evaluate RUN."""

import dataclasses
import pathlib

from scripts import settings
from scripts.recipes import find, load_data
from scripts.training import command_line, run_folder, untrusted


def check_fits(model, data):
    """Raise an InputError unless a model takes the inputs of the data, and knows their classes."""
    import tensorflow as tf

    inputs = tf.nest.flatten(data.test.element_spec[0])
    for x, spec in zip(getattr(model, "inputs", None) or (), inputs, strict=False):
        if len(inputs) != len(model.inputs) or not spec.shape[1:].is_compatible_with(x.shape[1:]):
            raise command_line.InputError(
                f"the model takes {[tuple(x.shape[1:]) for x in model.inputs]}, but the data are "
                f"{[tuple(spec.shape[1:]) for spec in inputs]}"
            )
    classes, shape = getattr(data, "classes", None), getattr(model, "output_shape", None)
    rows = isinstance(shape, tuple) and len(shape) == 2
    if classes and rows and shape[-1] not in (None, 1, len(classes)):
        raise command_line.InputError(
            f"the model tells {shape[-1]} classes apart, but the data have {len(classes)}"
        )


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.evaluate", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    places = ("data_dir", "download_dir")  # as in training, where these are still there
    own = ("data", "label", "image_size", "skip_broken", "import_module")
    settings.add_options(parser, *places, *own)
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        name, trained = run_folder.read_run(options.run)
        recipe, folder = find(name), pathlib.Path(options.run)
        recorded = untrusted.figures(folder / "metrics.json")
        config, _ = untrusted.check_model(folder / "model.keras")
        if not config.get("compile_config"):
            raise command_line.InputError(
                f"{folder}/model.keras was saved without loss and metrics: it cannot be measured"
            )
        given = {}
        for place in places:
            own = getattr(trained, place)
            if own is not None and not pathlib.Path(own).is_dir():
                own = None  # nothing is made where somebody else's run says
            given[place] = getattr(options, place) or own
        given["import_module"] = options.import_module  # nothing that only the run names
        for field in ("data", "label", "image_size", "skip_broken"):
            given[field] = getattr(options, field) or getattr(trained, field)
        from scripts.data.prepare import damaged_files_named

        with damaged_files_named():
            model = run_folder.load_model(folder)
            like = {}
            if options.data and options.data != trained.data:  # all of it is a test
                from scripts.data.own import asked

                like = {"like": asked.known(model)}
            data = load_data(recipe, dataclasses.replace(trained, **given), **like)
            check_fits(model, data)
            figures = model.evaluate(data.test, return_dict=True, verbose=0)
            figures |= recipe.measure(model, data)
        for name, value in figures.items():
            print(f"test {name} {value:.6f} (recorded: {recorded[name]:.6f})")


if __name__ == "__main__":
    main()
