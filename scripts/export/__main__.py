"""Write a trained run, or a model in a .keras file, for serving:

    python -m scripts.export RUN --format onnx

The result needs nothing of this package. A SavedModel:

    loaded = tf.saved_model.load(folder)
    probabilities = loaded.serve(images)

An ONNX file:

    session = onnxruntime.InferenceSession(file)
    [probabilities] = session.run(None, {"image": images})

A LiteRT file:

    runner = ai_edge_litert.interpreter.Interpreter(file).get_signature_runner()
    probabilities = runner(image=images)["output_0"]
"""

import pathlib

from scripts.export import formats
from scripts.training import command_line, run_folder


def main(arguments=None):
    parser = command_line.Parser(
        prog="python -m scripts.export",
        description="Write a trained run, or a model in a .keras file, for serving.",
    )
    parser.add_argument(
        "run", metavar="RUN", help="a folder that scripts.train wrote, or a .keras file"
    )
    parser.add_argument(
        "--format",
        choices=formats.FORMATS,
        default="saved_model",
        help="saved_model: for TensorFlow (default); onnx; litert: for small devices",
    )
    parser.add_argument(
        "--output",
        help="a new folder or file (default: RUN/saved_model, RUN/model.onnx or RUN/model.tflite, "
        "or beside the .keras file; replaced)",
    )
    parser.add_argument(
        "--batch-size",
        type=command_line.count,
        metavar="N",
        help="take exactly N examples (default: any number); litert needs it for recurrent layers",
    )
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        place, usual = pathlib.Path(options.run), formats.FORMATS[options.format][1]
        if place.suffix == ".keras" and place.is_file():
            file, usual = place, place.with_suffix(pathlib.Path(usual).suffix)
        else:
            run_folder.read_run(place)
            file, usual = place / "model.keras", place / usual
        path = pathlib.Path(options.output or usual)
        if options.output and path.exists():
            raise command_line.InputError(f"{path} exists: --output names a new folder or file")
        model = run_folder.load_file(file)
        if options.format != "saved_model":
            model = formats.behind_words(model)
        try:
            formats.write(model, path, options.format, options.batch_size)
        except OSError as error:
            raise command_line.InputError(f"cannot write to {path}: {error.strerror}") from error
        model = formats.served(model)
        print(f"{path}: input {model.input_shape}, output {model.output_shape}")


if __name__ == "__main__":
    main()
