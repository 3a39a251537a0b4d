"""What an exported model costs: the time of a call, its operations and bytes; ours beside Keras's.

A call has one example and one thread. Constants, the reading of variables, and operations that hand
a tensor on as it is are not counted; the bodies of loops and branches are.
"""

import dataclasses
import functools
import pathlib
import tempfile
import time
import warnings
from collections.abc import Callable

import keras

import custom_layers
from scripts.benchmark.timing import Case, median
from scripts.export import formats
from scripts.training.command_line import InputError

COLUMNS = ["model", "format", "keras_ms", "ours_ms", "ratio"]
COLUMNS += ["keras_operations", "ours_operations", "keras_bytes", "ours_bytes"]
NOT_COUNTED = {"Const", "Placeholder", "NoOp", "ReadVariableOp", "Identity", "IdentityN"}
EXAMPLES = 8  # by which LiteRT chooses the scales of int8


@dataclasses.dataclass(frozen=True)
class Exported:
    """call: one example's inputs by name -> an output as an array."""

    call: Callable
    operations: int
    bytes: int

    def seconds(self, inputs, calls):
        """Of the processor, for one thread computes: others that use the machine do not count."""
        start = time.process_time()
        for _ in range(calls):
            self.call(inputs)
        return (time.process_time() - start) / calls


def saved_model(model, x, folder):
    import tensorflow as tf

    path = folder / "saved_model"
    formats.saved_model(model, path)
    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]

    def call(inputs, owner=loaded):  # its variables live as long as it does
        y = function(**{name: tf.constant(part) for name, part in inputs.items()})
        return next(iter(y.values())).numpy()

    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Exported(call, operations(function.graph.as_graph_def()), size)


def operations(graph):
    """How many operations a graph has, with the functions that it calls, where somebody reads them.

    What only the backward would read is part of the file, and TensorFlow leaves it out.
    """
    bodies = {function.signature.name: function for function in graph.library.function}

    def count(nodes, read):
        """Of the nodes that make the tensors in `read`."""
        by_name, seen, total = {node.name: node for node in nodes}, set(), 0
        read = [name.strip("^").partition(":")[0] for name in read]
        while read:
            name = read.pop()
            if name in seen or name not in by_name:
                continue
            seen.add(name)
            node = by_name[name]
            read += [source.strip("^").partition(":")[0] for source in node.input]
            values = node.attr.values()
            called = [v.func.name for v in values] + [f.name for v in values for f in v.list.func]
            total += sum(of_function(name) for name in called if name in bodies)
            total += node.op not in NOT_COUNTED and not node.op.endswith("PartitionedCall")
        return total

    @functools.cache
    def of_function(name):
        body = bodies[name]
        return count(body.node_def, [*body.ret.values(), *body.control_ret.values()])

    return count(graph.node, [node.name for node in graph.node])


def onnx(model, x, folder):
    import onnx
    import onnxruntime

    path = folder / "model.onnx"
    formats.onnx(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = formats.nodes(onnx.load(path).graph)
    count = sum(node.op_type not in NOT_COUNTED for node in nodes)
    return Exported(lambda inputs: session.run(None, inputs)[0], count, path.stat().st_size)


def litert(model, x, folder):
    path = folder / "model.tflite"
    formats.write_for_most(model, path, "litert")
    return of_litert(path.read_bytes())


def litert_int8(model, x, folder):
    """Weights and activations in int8; inputs and outputs stay as they are."""
    import tensorflow as tf

    path = folder / "to_convert"
    formats.saved_model(model, path, batch_size=1)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(path), signature_keys=["serving_default"]
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(x)
    try:
        with formats.silent(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\s+Warning: tf.lite.Interpreter is deprecated")
            return of_litert(converter.convert())
    except Exception as error:  # ConverterError, which is not public, and errors of the calibration
        raise InputError(f"LiteRT int8: {str(error).strip().partition(chr(10))[0]}") from error


def of_litert(content):
    from ai_edge_litert.interpreter import Interpreter
    from tensorflow.lite.python import schema_py_generated as schema

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    file = schema.Model.GetRootAs(content)
    count = sum(file.Subgraphs(i).OperatorsLength() for i in range(file.SubgraphsLength()))

    def call(inputs, owner=interpreter):
        return next(iter(runner(**inputs).values()))

    return Exported(call, count, len(content))


FORMATS = {"SavedModel": saved_model, "ONNX": onnx, "LiteRT": litert, "LiteRT int8": litert_int8}


def exported(family, layers, format):
    """The model of that namespace in a format, and one example's inputs.

    None instead of the model where the format lacks an operation.
    """
    keras.utils.set_random_seed(0)
    model = family.build(layers)
    x = family.arrays(model, EXAMPLES)[0]
    parts = formats.named(model, x)
    rows = [{name: part[i : i + 1] for name, part in parts.items()} for i in range(EXAMPLES)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            return FORMATS[format](model, rows, pathlib.Path(folder)), rows[0]
        except InputError:
            return None, rows[0]


def compare(family, format, pairs=15):
    """The row of a family and format; empty cells where a side cannot be written in it."""
    theirs, x = exported(family, keras.layers, format)
    ours, _ = exported(family, custom_layers, format)
    values = dict.fromkeys(COLUMNS, "") | {"model": family.name, "format": format}
    for side, model in (("keras", theirs), ("ours", ours)):
        if model:
            values |= {f"{side}_operations": model.operations, f"{side}_bytes": model.bytes}
    if ours and theirs:
        timers = (functools.partial(model.seconds, x) for model in (ours, theirs))
        times = Case(family.name, format, None, least=0.02, pairs=pairs, warm_up=1).times(*timers)
        mine, other = (1e3 * median(side) for side in zip(*times, strict=True))
        ratio = median([b / a for a, b in times])
        values |= {"ours_ms": round(mine, 4), "keras_ms": round(other, 4), "ratio": round(ratio, 3)}
    return values
