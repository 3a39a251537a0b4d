"""Side by side with PyTorch Geometric: same weights, same graph, same outputs and gradients.

Needs a Python that has torch and torch_geometric, in a virtual environment of its own:
CUSTOM_LAYERS_PYG=/somewhere/bin/python python -m pytest tests/promises/test_pyg.py
"""

import os
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import custom_layers as cl
from custom_layers import graphs
from custom_layers.checks import assert_near

PYTHON = os.environ.get("CUSTOM_LAYERS_PYG")
pytestmark = pytest.mark.skipif(not PYTHON, reason="CUSTOM_LAYERS_PYG names no Python with PyG")

RNG = np.random.default_rng(0)
NODES = RNG.standard_normal((11, 4))
# Simple and without loops, where the libraries' conventions agree; node 10 is alone.
EDGES = np.array([(s, t) for s in range(10) for t in range(10) if s != t and RNG.random() < 0.3])
# Their ChebConv takes degrees of outgoing edges: the same if edges go both ways.
BOTH_WAYS = graphs.add_reverse_edges(EDGES)
WEIGHTS = RNG.uniform(0.5, 1.5, len(EDGES))
RELATIONS = RNG.integers(0, 3, len(EDGES))
LAYERS = {
    "GraphConv": (lambda **k: cl.GraphConv(3, **k), [WEIGHTS]),
    "GATConv": (lambda **k: cl.GATConv(3, heads=2, **k), []),
    "GATv2Conv": (lambda **k: cl.GATv2Conv(3, heads=2, concat=False, **k), []),
    "SAGEConv mean": (lambda **k: cl.SAGEConv(3, normalize=True, **k), []),
    "SAGEConv sum": (lambda **k: cl.SAGEConv(3, aggregate="sum", **k), []),
    "SAGEConv max": (lambda **k: cl.SAGEConv(3, aggregate="max", **k), []),
    "GINConv": (lambda **k: cl.GINConv(cl.Dense(3, **k), train_epsilon=True, **k), []),
    "RGCNConv": (lambda **k: cl.RGCNConv(3, 3, num_bases=2, **k), [RELATIONS]),
    "APPNP": (lambda **k: cl.APPNP(5, 0.2, **k), [WEIGHTS]),
    "EdgeConv": (lambda **k: cl.EdgeConv(cl.Dense(3, **k), **k), []),
    "SGConv": (lambda **k: cl.SGConv(3, K=2, **k), []),
    "ChebConv": (lambda **k: cl.ChebConv(3, K=3, **k), []),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The layers, built, and what PyG says: name -> layer, and name/what -> array."""
    folder = tmp_path_factory.mktemp("pyg")
    data = {"nodes": NODES, "edges": EDGES, "edge_weights": WEIGHTS, "relations": RELATIONS}
    data["both_ways"] = BOTH_WAYS
    layers = {}
    for name, (make, more) in LAYERS.items():
        layers[name] = layer = make(dtype="float64")
        layer([NODES, EDGES, *more])
        for weight in layer.weights:
            weight.assign(RNG.standard_normal(weight.shape))
            data[f"{name}/{weight.name}"] = weight.numpy()
    for k, kernel in enumerate(data["ChebConv/kernel"]):
        data[f"ChebConv/kernel {k}"] = kernel
    np.savez(folder / "x.npz", **data)
    script = pathlib.Path(__file__).parent / "pyg_reference.py"
    command = [PYTHON, script, folder / "x.npz", folder / "y.npz"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return layers, dict(np.load(folder / "y.npz"))


@pytest.mark.parametrize("name", LAYERS)
def test_same_outputs_and_gradients(name, built):
    layers, expected = built
    layer, nodes = layers[name], tf.constant(NODES)
    with tf.GradientTape() as tape:
        tape.watch(nodes)
        edges = BOTH_WAYS if name == "ChebConv" else EDGES
        y = layer([nodes, edges, *LAYERS[name][1]])
        loss = tf.reduce_sum(tf.sin(y))
    assert_near("output", y, expected[f"{name}/output"], 1e-5)
    weights = layer.trainable_weights
    slopes = tape.gradient(loss, [nodes, *(w.value for w in weights)])
    for key, slope in zip(["nodes", *(w.name for w in weights)], slopes, strict=True):
        assert_near(f"gradient of {key}", slope, expected[f"{name}/{key}"], 1e-5)
