"""Training on several devices (`mirrored`) or machines (`multiworker`) with tf.distribute.

Each machine runs one process. `TF_CONFIG` tells it which one it is, as on Kubernetes, Vertex AI or
Slurm:

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:5000", "10.0.0.2:5000"]},
                "task": {"type": "worker", "index": 0}}'

The batch size is the global one: each replica takes its share of every batch. Only the first worker
(the chief) writes files. TensorFlow's servers listen on all interfaces and authenticate nobody:
run them in a private network.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time

from scripts.training import command_line

LAUNCHER = "SCRIPTS_LAUNCHER"  # variable: the end of a pipe that closes when scripts.launch ends
PATIENCE = 15  # seconds in which a worker may end by itself when another one, or all, must


def task():
    """(index of this worker, number of workers), from TF_CONFIG; (0, 1) without it."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        workers, own = config["cluster"]["worker"], config["task"]
        index = int(own["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise command_line.InputError(f"TF_CONFIG is malformed: {error!r} in {text}") from error
    if own.get("type") != "worker" or not 0 <= index < len(workers):
        raise command_line.InputError(
            f"TF_CONFIG must name a task of type worker with an index below {len(workers)}, "
            f"received {own}"
        )
    return index, len(workers)


def launched():
    """Whether this worker was started by scripts.launch."""
    return LAUNCHER in os.environ


def end_with_launcher():
    """End this worker when the process that started it is gone, whatever ended that.

    The variable LAUNCHER holds a pipe's end to read. Nobody writes to the pipe: that there is no
    more to read means that the launcher is gone.
    """
    if not launched():
        return

    def watch(pipe):
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)  # for what an interrupted training does
        os._exit(command_line.LOST_WORKER)

    threading.Thread(target=watch, args=[int(os.environ[LAUNCHER])], daemon=True).start()


def make_strategy(name):
    """The strategy of that name. To be called before anything else of TensorFlow."""
    import tensorflow as tf

    if name == "mirrored":
        devices = [d.name for d in tf.config.list_logical_devices("GPU")]
        devices = devices or [d.name for d in tf.config.list_logical_devices("CPU")]
        # Without NCCL (CPU devices) gradients are summed on the first device.
        across = None if "GPU" in devices[0] else tf.distribute.ReductionToOneDevice()
        return tf.distribute.MirroredStrategy(devices, cross_device_ops=across)
    if name == "multiworker":
        if not os.environ.get("TF_CONFIG"):
            raise command_line.InputError("--strategy multiworker needs the variable TF_CONFIG")
        task()  # a clear error instead of a hanging server
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def shard(dataset, batch_size):
    """Batches of which each worker reads its own part; incomplete ones are dropped.

    DATA is the only policy that is right here: AUTO fails on data sets of one file, OFF lets all
    workers train on the same part. The replicas would get unequal parts of an incomplete batch, and
    their gradients would be averaged as if the parts were equal.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    whole = dataset.filter(lambda *x: tf.equal(tf.shape(tf.nest.flatten(x)[0])[0], batch_size))
    return whole.with_options(options)


def patch_keras_fit(model, strategy, dataset):
    """Make `fit` and `evaluate` of a compiled model work under a strategy of many replicas.

    Keras 3 builds the model from a batch: it takes one out of the shuffled stream and reduces it
    over workers that wait for each other (keras#20329). Shapes suffice. It also reduces
    the logs of a step over workers along an axis that scalars do not have (keras#20585).
    """
    import tensorflow as tf

    with strategy.scope():
        model._symbolic_build(data_batch=dataset.element_spec)
    model._maybe_symbolic_build = lambda **_: None

    def with_axis(step):
        return lambda data: tf.nest.map_structure(lambda v: tf.reshape(v, (1,)), step(data))

    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        model.train_step = with_axis(model.train_step)
        model.test_step = with_axis(model.test_step)


@contextlib.contextmanager
def lost_worker_ends_process():
    """End this process at once, with a status of its own, when another worker is gone.

    Not by an exception: TensorFlow's threads still wait for the lost worker and would keep the
    process alive for minutes. The checkpoints are on the disk already.
    """
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if task()[1] == 1:
            raise
        line = str(error).strip().splitlines()[0]
        print(
            f"another worker is gone ({line}): start all of them again with --resume",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os._exit(command_line.LOST_WORKER)


def furthest(strategy, epochs, content):
    """The checkpoint of the worker that has come furthest, on all workers.

    Each worker keeps its own checkpoints: when one is lost with its disk, another's serve.

    Args:
        epochs, content: of this worker's newest checkpoint; 0 and b"" if it has none.
    """
    import numpy as np
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return epochs, content
    index, workers = task()
    own = np.zeros((workers, 2), "int64")
    own[index] = epochs, len(content)
    all_of_them = _sum(strategy, own)
    leader = int(all_of_them[:, 0].argmax())
    epochs, length = (int(value) for value in all_of_them[leader])
    if not length:  # TensorFlow crashes on a sum over workers of nothing
        return 0, b""
    buffer = np.zeros(length, "int32")
    if index == leader:
        buffer[:] = np.frombuffer(content, "uint8")
    return epochs, _sum(strategy, buffer).astype("uint8").tobytes()


def wait_for_all(strategy):
    """Return once all workers are here: one that leaves early looks like one that crashed."""
    import numpy as np
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        _sum(strategy, np.ones(1, "int64"))


def _sum(strategy, array):
    """The sum of an array over workers."""
    import tensorflow as tf

    @tf.function
    def run(array):
        def once():  # and not once for each device of this worker
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group % strategy.extended._num_devices_per_worker
            return tf.where(first == 0, array, tf.zeros_like(array))

        return strategy.reduce("SUM", strategy.run(once), axis=None)

    return run(tf.constant(array)).numpy()
