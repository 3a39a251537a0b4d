"""Write a trained run for serving: python -m scripts.export RUN.

The result is a TensorFlow SavedModel that is loaded and served without this package:

    loaded = tf.saved_model.load(folder)
    probabilities = loaded.serve(images)
"""

import pathlib

from scripts import command, runs


def export(model, folder):
    """Write `model` as a SavedModel with the endpoint `serve`."""
    model.export(folder, verbose=False)


def main(arguments=None):
    parser = command.Parser(prog="python -m scripts.export", description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument("--output", help="a new folder (default: RUN/saved_model, replaced)")
    with command.one_line_errors():
        options = parser.parse_args(arguments)
        runs.read_run(options.run)
        folder = pathlib.Path(options.output or pathlib.Path(options.run) / "saved_model")
        if options.output and folder.exists():
            raise command.InputError(f"{folder} exists: --output names a new folder")
        model = runs.load_model(options.run)
        try:
            export(model, folder)
        except OSError as error:
            raise command.InputError(f"cannot write to {folder}: {error.strerror}") from error
        print(f"{folder}: input {model.input_shape}, output {model.output_shape}")


if __name__ == "__main__":
    main()
