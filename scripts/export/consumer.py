"""Answers of exported models in a process without anything of this project: the proof of exports.

    python -I scripts/export/consumer.py onnx MODEL INPUTS.npz ANSWERS.npz [MODEL ...]

It runs as a file; the arrays have the names of the model's inputs and outputs.
"""

import importlib.abc
import sys

import numpy as np

PROJECT = {"custom_layers", "models", "scripts"}


class Blocker(importlib.abc.MetaPathFinder):
    """Make it an error to import anything of the project."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in PROJECT:
            raise ImportError(f"{name} is imported: the exported model is not self-contained")


def saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # its functions live as long as it does
    return lambda inputs: loaded.signatures["serving_default"](**tensors(inputs))


def tfsm_layer(path):
    import keras
    import tensorflow as tf

    layer = keras.layers.TFSMLayer(path, call_endpoint="serve")
    [structure], _ = layer.call_endpoint_fn.concrete_functions[0].structured_input_signature

    def answer(inputs):
        y = layer(tf.nest.map_structure(lambda spec: tf.constant(inputs[spec.name]), structure))
        return y if isinstance(y, dict) else numbered(y)

    return answer


def numbered(outputs):
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return {f"output_{i}": y for i, y in enumerate(outputs)}


def tensors(inputs):
    import tensorflow as tf

    return {name: tf.constant(x) for name, x in inputs.items()}


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    return lambda inputs: runner(**inputs)


CONSUMERS = {f.__name__: f for f in (saved_model, tfsm_layer, onnx, litert)}


def main(kind, *files):
    models = {}
    for path, inputs, answers in zip(files[::3], files[1::3], files[2::3], strict=True):
        if path not in models:
            models[path] = CONSUMERS[kind](path)
        y = models[path](dict(np.load(inputs)))
        np.savez(answers, **{name: np.asarray(part) for name, part in y.items()})


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocker())
    main(*sys.argv[1:])
