"""A second Python process, in which what was saved is loaded by somebody who did not build it.

Run as a script it answers requests, a line of JSON each. It imports TensorFlow, and the module of a
layer only if the request names it. It is started once, when the first promise asks, and ends with
this process. It has two CPU devices, so that a layer can be proven on two replicas.
"""

import atexit
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback


def value_and_slopes(call, inputs, variables):
    """(outputs, gradients of Σ asinh(y_i + i) for float inputs and variables), flat arrays."""
    import tensorflow as tf

    inputs = [tf.convert_to_tensor(x) for x in inputs]
    points = [x for x in inputs if x.dtype.is_floating] + list(variables)
    with tf.GradientTape() as tape:
        tape.watch(points)
        outputs = tf.nest.flatten(call(inputs))
        value = tf.zeros((), "float64")
        for y in outputs:
            if y.dtype.is_floating:
                y = tf.cast(tf.reshape(y, (-1,)), "float64")
                value += tf.reduce_sum(tf.asinh(y + tf.cast(tf.range(tf.size(y)), "float64")))
    slopes = tape.gradient(value, points, unconnected_gradients="zero")
    return [x.numpy() for x in outputs + [tf.convert_to_tensor(g) for g in slopes]]


def load_keras_file(path, classes):
    """The model in a `.keras` file, after an import of the modules of its classes."""
    import keras

    found = {name: getattr(importlib.import_module(module), name) for module, name in classes}
    return keras.models.load_model(path, custom_objects=found)


def answer_saved_model(path, inputs, classes):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return value_and_slopes(loaded.serve, inputs, loaded.trainable_variables)


def answer_keras_file(path, inputs, classes):
    model = load_keras_file(path, classes)
    return value_and_slopes(model, inputs, [v.value for v in model.trainable_variables])


def answer_replicas(path, inputs, classes):
    """Outputs and gradients of two replicas, each with half of the batch, put together."""
    import tensorflow as tf

    devices = ["/cpu:0", "/cpu:1"]
    strategy = tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        model = load_keras_file(path, classes)
    half = len(inputs[0]) // 2
    halves = [[x[:half] for x in inputs], [x[half : 2 * half] for x in inputs]]

    @tf.function(autograph=False)
    def run(parts):
        def replica(part):
            with tf.GradientTape() as tape:
                outputs = tf.nest.flatten(model(part))
                floats = [y for y in outputs if y.dtype.is_floating]
                value = tf.add_n([tf.reduce_sum(tf.asinh(tf.cast(y, "float64"))) for y in floats])
            slopes = tape.gradient(
                value, [v.value for v in model.trainable_variables], unconnected_gradients="zero"
            )
            context = tf.distribute.get_replica_context()
            slopes = [context.all_reduce("sum", tf.convert_to_tensor(g)) for g in slopes]
            return outputs, slopes

        return strategy.run(replica, (parts,))

    parts = [
        strategy.experimental_distribute_values_from_function(
            lambda context, k=k: tf.convert_to_tensor(halves[context.replica_id_in_sync_group][k])
        )
        for k in range(len(inputs))
    ]
    outputs, slopes = run(parts)
    outputs = [tf.concat(strategy.experimental_local_results(y), 0).numpy() for y in outputs]
    return outputs + [strategy.experimental_local_results(g)[0].numpy() for g in slopes]


def serve():
    """Answer requests from the standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the standard error
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with np.load(request["inputs"], allow_pickle=False) as file:
                inputs = [file[name] for name in file.files]
            run = globals()["answer_" + request["kind"]]
            results = run(request["path"], inputs, request["classes"])
            np.savez(request["outputs"], *results)
            reply = {}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]}
        print(json.dumps(reply), file=answers, flush=True)


def _by_signal(process):
    status = process.wait()
    return f" ({signal.Signals(-status).name})" if status < 0 else ""


@functools.cache
def start():
    """The other process; it is started once."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    process = subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    atexit.register(process.kill)
    return process


def ask(kind, path, inputs, classes=()):
    """What the other process answers: flat arrays.

    Args:
        kind: "saved_model", "keras_file" or "replicas".
        path: of what was saved. The arrays on their way are put beside it.
        inputs: a list of arrays.
        classes: (module, name) of the classes that it has to import.

    Raises:
        RuntimeError: what the other process raised.
        EOFError: it has ended.
    """
    import numpy as np

    there, back = f"{path}.inputs.npz", f"{path}.outputs.npz"
    np.savez(there, *inputs)
    request = {"kind": kind, "path": str(path), "inputs": there, "outputs": back}
    process = start()
    try:
        print(json.dumps({**request, "classes": classes}), file=process.stdin, flush=True)
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        start.cache_clear()
        raise EOFError(f"the process that loaded it has ended{_by_signal(process)}")
    error = json.loads(line).get("error")
    if error:
        raise RuntimeError(error)
    with np.load(back, allow_pickle=False) as file:
        return [file[name] for name in file.files]


if __name__ == "__main__":
    serve()
