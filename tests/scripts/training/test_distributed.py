"""Several workers and devices: the weights of one process, and nothing lost with a worker.

Each test starts its own processes on the loopback interface.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from scripts.launch import free_ports
from scripts.training import distributed
from scripts.training.command_line import InputError
from scripts.training.run_folder import load_model, unfinished

ROOT = pathlib.Path(__file__).parents[3]
RECIPE = ["digits-mlp", "--epochs", "4", "--dropout", "0", "--batch-size", "32"]


def run(*arguments, status=0):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def assert_same_weights(folder, reference, tolerance):
    for a, b in zip(
        load_model(folder).get_weights(), load_model(reference).get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """One process, one device, on the global batches that the workers share."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run("scripts.train", *RECIPE, "--strategy", "mirrored", "--output", folder)
    return folder


@pytest.mark.long
def test_two_workers_are_one_process(reference, tmp_path):
    done = run("scripts.launch", *RECIPE, "--workers", 2, "--output", tmp_path / "run")
    assert "2 replicas, global batch 32, learning rate 0.001" in done.stdout
    assert_same_weights(tmp_path / "run", reference, 1e-6)
    assert not unfinished(tmp_path / "run").exists()


def workers_of(process, count, limit=60):
    """The process ids of the workers that a launcher has started."""
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + limit
    while len(children := path.read_text().split()) < count:
        assert time.monotonic() < until
        time.sleep(0.05)
    return [int(child) for child in children]


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_is_killed_and_its_disk_is_gone(victim, reference, tmp_path):
    folder = tmp_path / "run"
    arguments = ["scripts.launch", *RECIPE, "--workers", "2", "--output", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    own = folder if victim == 0 else tmp_path / "run-worker-1"
    checkpoint = unfinished(own) / "checkpoints" / "epoch-00002.npz"
    workers = workers_of(process, 2)
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(workers[victim], signal.SIGKILL)
    shutil.rmtree(unfinished(own), ignore_errors=True)
    killed = time.monotonic()
    survivor = pathlib.Path(f"/proc/{workers[1 - victim]}/cmdline")
    while survivor.exists() and survivor.read_bytes():  # empty once it is a zombie
        time.sleep(0.1)
    assert time.monotonic() - killed < 20  # 15 s to end by itself, and the kill
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert b"workers ended with" in err
    assert_same_weights(folder, reference, 1e-5)


def in_process(code, devices=2, workers=0, index=0, ports=()):
    """Start a fresh Python with several logical devices, or as one of several workers."""
    head = f"""
        import os
        import numpy as np, tensorflow as tf, keras
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * {devices})
        import custom_layers
        from scripts.training import distributed
    """
    environment = dict(os.environ)
    if workers:
        environment["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                "task": {"type": "worker", "index": index},
            }
        )
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_line(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


def test_replicas_draw_their_own_masks_and_share_statistics():
    """Dropout, and BatchNormalization(synchronized=True) against the statistics of one process."""
    result = last_line(
        in_process("""
        import json
        x = np.random.default_rng(0).standard_normal((8, 5)).astype("float32") * 3 + 1
        strategy = distributed.make_strategy("mirrored")
        batches = tf.data.Dataset.from_tensors(x).unbatch().batch(8)
        with strategy.scope():
            drop = custom_layers.Dropout(0.5, seed=1)
            norm = custom_layers.BatchNormalization(synchronized=True, momentum=0.5)
            norm.build((None, 5))
        part = next(iter(strategy.experimental_distribute_dataset(batches)))
        run = tf.function(lambda f, p: strategy.run(f, (p,)))
        masks = run(lambda p: drop(tf.ones((100,)), training=True), part)
        y = run(lambda p: norm(p, training=True), part)
        y = np.concatenate([v.numpy() for v in strategy.experimental_local_results(y)])
        one = custom_layers.BatchNormalization(momentum=0.5)
        expected = one(x, training=True).numpy()
        a, b = (v.numpy() for v in strategy.experimental_local_results(masks))
        moving = [np.abs(v.numpy() - w.numpy()).max() for v, w in zip(norm.weights, one.weights)]
        print(json.dumps({
            "same mask": float((a == b).mean()),
            "output": float(np.abs(y - expected).max()),
            "moving": float(max(moving)),
        }))
        """)
    )
    assert 0.2 < result["same mask"] < 0.8
    assert result["output"] < 1e-5
    assert result["moving"] < 1e-6


PLAIN_FIT = """
    import json
    strategy = distributed.make_strategy("multiworker")
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=False)
    data = tf.data.Dataset.from_tensors((np.ones((4, 3)), np.ones((4, 1)))).repeat(3)
    data = distributed.shard(data, 4)
    if PATCHED:
        distributed.patch_keras_fit(model, strategy, data)
    model.fit(data, verbose=0)
    print(json.dumps("trained"))
"""


@pytest.mark.long
@pytest.mark.parametrize("patched", [True, False])
def test_the_workaround_is_still_needed(patched):
    """Red once Keras's own `fit` works under several workers: patch_keras_fit can go then."""
    ports = free_ports(2)
    code = f"PATCHED = {patched}\n" + textwrap.dedent(PLAIN_FIT)
    processes = [
        in_process(code, devices=1, workers=2, index=index, ports=ports) for index in range(2)
    ]
    if patched:
        assert [last_line(process) for process in processes] == ["trained"] * 2
        return
    try:
        for process in processes:
            process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        pass  # Keras waits for ever
    for process in processes:
        process.kill()
        process.communicate()
    assert any(process.returncode for process in processes), "Keras's own fit works now"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG is malformed"),
        ('{"cluster": {}}', "TF_CONFIG is malformed"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "below 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "type worker"),
    ],
)
def test_a_wrong_cluster(config, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match=message):
        distributed.task()


def test_multiworker_needs_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="needs the variable TF_CONFIG"):
        distributed.make_strategy("multiworker")
