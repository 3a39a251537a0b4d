"""The formats in which a model is written for serving. None of them needs this package afterwards.

    saved_model   a folder for TensorFlow, also for fine-tuning
    onnx          a file for onnxruntime and the many other programs that read ONNX
    litert        a file for LiteRT, formerly TensorFlow Lite: phones and small devices

Inputs have the names of the Keras inputs; outputs are called `output_0`, `output_1`, ..., or have
the keys of the dict that the model returns. A format that lacks an operation raises an InputError.
"""

import contextlib
import importlib.util
import json
import logging
import os
import pathlib
import re
import shutil

from custom_layers.private_apis import layers_inside
from scripts.training.command_line import InputError
from scripts.training.run_folder import unfinished

# Operations in which loops over time collect their outputs, and those that split texts into words.
LOOP, TEXT = "TensorList", {"StringLower", "StaticRegexReplace", "StringSplitV2"}


class LackingError(InputError):
    """A format lacks operations that a model needs; `operations` are their names."""

    def __init__(self, format, operations):
        self.operations = sorted(operations)
        # LiteRT has loops over time for batches of a known size.
        self.by_size = format == "LiteRT" and all(name.startswith(LOOP) for name in operations)
        names = ", ".join(self.operations)
        super().__init__(
            f"{format} has no {names} for a batch of any size, which the recurrent layers of this "
            "model need: --batch-size 1 takes one example at a time"
            if self.by_size
            else f"{format} has no {names}, which this model needs"
        )


def write(model, path, format="saved_model", batch_size=None):
    """Write `model` to `path`, completely or not at all; replaces what was there.

    Args:
        model: a `keras.Model`.
        path: the new folder or file.
        format: one of `FORMATS`.
        batch_size: of each input; None for any. LiteRT needs one for loops over time.
    """
    with _whole(pathlib.Path(path)) as place:
        FORMATS[format][0](model, place, batch_size)


def write_for_most(model, path, format):
    """Write `model` for any number of examples, or for one if the format cannot do more.

    Returns:
        The number of examples, None for any.
    """
    try:
        return write(model, path, format)
    except LackingError as error:
        if not error.by_size:
            raise
        write(model, path, format, batch_size=1)
        return 1


@contextlib.contextmanager
def _whole(path):
    """Yield a place beside `path` to write to, which becomes `path` if all goes well.

    If the process is killed, `path` is the old one or the new one, or missing for the moment in
    which a folder is replaced. The next export clears away what was left, or puts the old one back.
    """
    partial, old = unfinished(path), path.parent / f".{path.name}.replaced"

    def clear():
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)

    clear()
    try:
        partial.mkdir(parents=True)
        yield partial / path.name
        if path.is_dir():
            path.rename(old)
        (partial / path.name).replace(path)
    finally:
        clear()


def _signature(model, batch_size):
    """The inputs of `model`, as TensorSpecs in their structure."""
    import keras
    import tensorflow as tf

    model = served(model)
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def spec(x):
        first = batch_size if x.shape[0] is None else x.shape[0]
        return tf.TensorSpec((first, *x.shape[1:]), x.dtype, name=x.name)

    return tf.nest.map_structure(spec, inputs)


def named(model, x):
    """{name that an exported model has for an input: array}"""
    import numpy as np
    import tensorflow as tf

    inputs = tf.nest.flatten(served(model).input)
    arrays = [np.asarray(part) for part in tf.nest.flatten(x)]
    arrays = [part.astype(str) if part.dtype == object else part for part in arrays]
    return {i.name: part for i, part in zip(inputs, arrays, strict=True)}


def served(model):
    """The part of a model that is served: the generator of a GAN, else the model."""
    return getattr(model, "generator", model)


def behind_words(model):
    """The part of a model of texts that takes ids of words: ONNX and LiteRT know no texts."""
    import keras

    words = next((x for x in model.layers if isinstance(x, keras.layers.TextVectorization)), None)
    return model if words is None else keras.Model(words.output, model.output, name=model.name)


def preparation(model):
    """What a model knows of its inputs and outputs in words, `{name: ...}`."""
    import keras

    known = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.TextVectorization):
            known["vocabulary"] = [str(word) for word in layer.get_vocabulary()]
        for name, kind in (("names", "Classes"), ("columns", "Columns")):
            if type(layer).__name__ == kind:
                known["classes" if name == "names" else name] = getattr(layer, name)
    return known


@contextlib.contextmanager
def _without_cudnn(model):
    """Let recurrent layers run in plain operations: cuDNN's need a GPU where they are served."""
    layers = [layer for layer in layers_inside(model) if hasattr(layer, "use_cudnn")]
    before = [layer.use_cudnn for layer in layers]
    try:
        for layer in layers:
            layer.use_cudnn = False
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.use_cudnn = value


def saved_model(model, path, batch_size=None):
    import tensorflow as tf

    signature = None if batch_size is None else [_signature(model, batch_size)]
    try:
        with _without_cudnn(model):
            model.export(path, verbose=False, input_signature=signature)
    except tf.errors.OpError as error:  # a full disk, for example
        raise OSError(error.error_code, error.message) from error
    if known := preparation(model):
        extra = pathlib.Path(path) / "assets.extra"  # TensorFlow's place for a user's own files
        extra.mkdir()
        (extra / "preparation.json").write_text(json.dumps(known) + "\n", encoding="utf-8")


def onnx(model, path, batch_size=None):
    _need("onnx", "tf2onnx")
    import onnx
    import tf2onnx

    with silent(), _without_cudnn(model):
        serve, signature = _frozen(served(model), batch_size)
        converted, _ = tf2onnx.convert.from_function(serve, signature)
    version = converted.opset_import[0].version
    lacking = {
        node.op_type
        for node in nodes(converted.graph)
        if not onnx.defs.has(node.op_type, version, node.domain)
    }
    if lacking:
        raise LackingError("ONNX", lacking)
    onnx.checker.check_model(converted, full_check=True)
    path.write_bytes(converted.SerializeToString())


def _frozen(model, batch_size):
    """`model` as a function whose weights and other constants are part of its graph.

    tf2onnx itself freezes only variables, and would turn other constants into inputs.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = _signature(model, batch_size)
    flat = tf.nest.flatten(signature)

    @tf.function(input_signature=[signature])
    def call(inputs):
        y = model(inputs, training=False)
        return y if isinstance(y, dict) else numbered(y)

    @tf.function(input_signature=flat)
    def serve(*inputs):
        with tf.init_scope():  # when tf2onnx traces it: layers ask whether they are exported
            concrete = call.get_concrete_function()
            frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        captured = {inner.name: outer for outer, inner in concrete.graph.captures}
        tables = [captured[x.name] for x in frozen.inputs[len(flat) :]]  # of words, not frozen
        return tf.nest.pack_sequence_as(concrete.structured_outputs, frozen(*inputs, *tables))

    return serve, flat


def numbered(outputs):
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return {f"output_{i}": y for i, y in enumerate(outputs)}


def nodes(graph):
    """All nodes of an ONNX graph, including those in the bodies of its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def litert(model, path, batch_size=None):
    import tensorflow as tf

    folder = path.parent / "to_convert"
    saved_model(model, folder, batch_size)
    try:
        with silent():
            converter = tf.lite.TFLiteConverter.from_saved_model(
                str(folder), signature_keys=["serving_default"]
            )
            # Without TensorFlow's own kernels (Flex), which a LiteRT interpreter lacks.
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            content = converter.convert()
    except Exception as error:  # ConverterError, which is not public
        # Its message is pages long, and names the operations as 'tf.Name'.
        lacking = set(re.findall(r"'tf\.(\w+)' op", str(error))) | TEXT & operations(folder)
        if lacking:
            raise LackingError("LiteRT", lacking) from error
        first = str(error).strip().partition("\n")[0]
        raise InputError(f"LiteRT cannot convert this model: {first}") from error
    path.write_bytes(content)


def operations(folder):
    """The names of all operations in a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    read = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = read.meta_graphs[0].graph_def
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return {node.op for body in bodies for node in body}


def _need(*packages):
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"{name} is not installed: pip install --constraint constraints.txt "
                "--editable '.[export]'"
            )


@contextlib.contextmanager
def silent():
    """Keep the converters' messages, in C++ and in Python, off the terminal: errors are raised."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    logging.disable(logging.CRITICAL)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
        logging.disable(logging.NOTSET)


FORMATS = {  # the writer, and the name in a run folder
    "saved_model": (saved_model, "saved_model"),
    "onnx": (onnx, "model.onnx"),
    "litert": (litert, "model.tflite"),
}
