"""Write a trained run for serving: python -m scripts.export RUN --format onnx.

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
        prog="python -m scripts.export", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument(
        "--format",
        choices=formats.FORMATS,
        default="saved_model",
        help="saved_model: for TensorFlow (default); onnx; litert: for small devices",
    )
    parser.add_argument(
        "--output",
        help="a new folder or file (default: RUN/saved_model, RUN/model.onnx or RUN/model.tflite, "
        "replaced)",
    )
    parser.add_argument(
        "--batch-size",
        type=command_line.count,
        metavar="N",
        help="take exactly N examples (default: any number); litert needs it for recurrent layers",
    )
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        run_folder.read_run(options.run)
        usual = pathlib.Path(options.run) / formats.FORMATS[options.format][1]
        path = pathlib.Path(options.output or usual)
        if options.output and path.exists():
            raise command_line.InputError(f"{path} exists: --output names a new folder or file")
        model = run_folder.load_model(options.run)
        try:
            formats.write(model, path, options.format, options.batch_size)
        except OSError as error:
            raise command_line.InputError(f"cannot write to {path}: {error.strerror}") from error
        model = formats.served(model)
        print(f"{path}: input {model.input_shape}, output {model.output_shape}")


if __name__ == "__main__":
    main()
