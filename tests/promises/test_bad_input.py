"""Bad input, from constructors to files: each error names the argument, the value, what is right.

One table: what is called, the error, and a pattern of its message. Where Keras has an error for the
same mistake the words are Keras's.
"""

import json
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers as cl
from custom_layers import convert, graphs
from scripts import evaluate, launch, sample, train, translate
from scripts.data.images import load_images
from scripts.data.nodes import load_nodes
from scripts.data.tables import load_table
from scripts.data.texts import load_texts
from scripts.export import __main__ as export
from scripts.training import run_folder
from scripts.training.command_line import InputError

NODES = np.ones((3, 5), "float32")
PACKABLE = tf.data.Dataset.from_tensors({"nodes": NODES})
EDGES = np.array([[0, 1], [1, 2]], "int32")
INDEX = graphs.incoming_edges(EDGES, 3)


def x(*shape):
    return np.ones(shape, "float32")


def mask(*shape):
    return np.ones(shape, bool)


def twice(layer, first, second):
    layer(first)
    layer(second)


# Case: what is wrong, what is called, the exception, the pattern of its message.
LAYERS = [
    ("units 0", lambda: cl.Dense(0), ValueError, "`units` must be a positive integer.*units=0"),
    ("units 2.5", lambda: cl.GraphConv(2.5), ValueError,
     "`units` must be a positive integer.*units=2.5"),
    ("units text", lambda: cl.SGConv("4"), ValueError,
     "`units` must be a positive integer.*units='4'"),
    ("units true", lambda: cl.Dense(True), ValueError,
     "`units` must be a positive integer.*units=True"),
    ("units of a cell", lambda: cl.LSTM(-1), ValueError,
     "`units` must be a positive integer.*units=-1"),
    ("activation", lambda: cl.Dense(4, "rellu"), ValueError, "activation function.*: rellu"),
    ("initializer", lambda: cl.Dense(4, kernel_initializer="glort"), ValueError,
     "initializer identifier: glort"),
    ("regularizer", lambda: cl.Dense(4, kernel_regularizer="l3"), ValueError,
     "regularizer identifier: l3"),
    ("constraint", lambda: cl.Dense(4, kernel_constraint="foo"), ValueError,
     "constraint identifier: foo"),
    ("unknown argument", lambda: cl.GRU(4, unit=3), ValueError, "arguments.* GRU.*'unit': 3"),
    ("lora", lambda: cl.Dense(4, lora_rank=2), ValueError,
     "argument `lora_rank`, as it has neither LoRA.*Keep Keras's layer"),
    ("dtype", lambda: cl.Dense(4, dtype="float12"), ValueError, "'float12'.*Valid policies "),
    ("rate 1.5", lambda: cl.Dropout(1.5), ValueError, "`rate`. Expected .*0 and 1.*rate=1.5"),
    ("rate text", lambda: cl.Dropout("0.5"), ValueError, "`rate`. Expected a float .*rate='0.5'"),
    ("rate nan", lambda: cl.SpatialDropout1D(np.nan), ValueError, "`rate`. Expected .*rate=nan"),
    ("seed", lambda: cl.Dropout(0.5, seed="x"), ValueError, "`seed` must be an integer.*seed=x"),
    ("noise_shape 3", lambda: cl.Dropout(0.5, noise_shape=3), ValueError,
     "`noise_shape`. Expected a tuple or list of integers.*noise_shape=3"),
    ("noise_shape of another input", lambda: cl.Dropout(0.5, (7, 2))(x(2, 3), training=True),
     ValueError, r"`noise_shape` must broadcast.*noise_shape=\(7, 2\), inputs.shape=\(2, 3\)"),
    ("dropout of a cell", lambda: cl.LSTM(4, dropout="a"), ValueError,
     "`dropout` must be a finite number. Received: dropout='a'"),
    ("recurrent_dropout", lambda: cl.GRU(4, recurrent_dropout=None), ValueError,
     "`recurrent_dropout` must be a finite number. Received: recurrent_dropout=None"),
    ("dropout of attention", lambda: cl.GATConv(4, dropout=2), ValueError,
     r"`dropout` must be in \[0, 1\). Received: dropout=2"),
    ("negative_slope of attention", lambda: cl.GATv2Conv(4, negative_slope="a"), ValueError,
     "`negative_slope` must be a finite number. Received: negative_slope='a'"),
    ("max_value", lambda: cl.ReLU(max_value="a"), ValueError, "max_value of a.*max_value='a'"),
    ("threshold", lambda: cl.ReLU(threshold=-1), ValueError, "threshold of a ReLU.*threshold=-1"),
    ("negative_slope", lambda: cl.LeakyReLU("a"), ValueError, "Expected a.*negative_slope='a'"),
    ("l1", lambda: cl.L1(-1), ValueError, "argument l1: expected a non-negative float.*l1=-1"),
    ("l2", lambda: cl.ActivityRegularization(l2=np.inf), ValueError, "l2: expected a .*l2=inf"),
    ("momentum", lambda: cl.BatchNormalization(momentum=2), ValueError,
     "`momentum` must be from 0 to 1. Received: momentum=2"),
    ("epsilon", lambda: cl.BatchNormalization(epsilon=-1), ValueError,
     "`epsilon` must be at least 0. Received: epsilon=-1"),
    ("epsilon of a layer", lambda: cl.LayerNormalization(epsilon=-1e-3), ValueError,
     "`epsilon` must be at least 0. Received: epsilon=-0.001"),
    ("renorm_clipping", lambda: cl.BatchNormalization(renorm=True, renorm_clipping={"x": 1}),
     ValueError, "`renorm_clipping` argument: {'x': 1}. Supported values: "),
    ("axis", lambda: cl.LayerNormalization(axis=9)(x(2, 3)), ValueError,
     r"Axis 9 is out of bounds for input shape \(2, 3\). Received: axis=9"),
    ("filters", lambda: cl.Conv2D(0, 3), ValueError, "`filters`. Expected a strictly positive.*=0"),
    ("kernel_size", lambda: cl.Conv2D(4, (3,)), ValueError,
     r"`kernel_size` argument must be a tuple of 2 integers. Received kernel_size=\(3,\)"),
    ("strides", lambda: cl.Conv1D(4, 3, strides=0), ValueError,
     "`strides` argument must be a tuple of 1 integers. Received strides=0"),
    ("padding", lambda: cl.Conv2D(4, 3, padding="causal"), ValueError,
     r"`padding` argument must be one of \('valid', 'same'\). Received: causal"),
    ("groups", lambda: cl.Conv2D(5, 3, groups=2), ValueError, "groups=2, filters=5"),
    ("data_format", lambda: cl.MaxPooling2D(2, data_format="last"), ValueError,
     "`data_format` argument must be one of.*'channels_last'.*Received: data_format=last"),
    ("output_padding", lambda: cl.Conv2DTranspose(4, 3, strides=2, output_padding=2), ValueError,
     r"`output_padding` must be strictly less than `strides`.*output_padding=\(2, 2\)"),
    ("pool_size", lambda: cl.AveragePooling3D(0), ValueError,
     "`pool_size` argument must be a tuple of 3 integers. Received pool_size=0"),
    ("input_dim", lambda: cl.Embedding(4.5, 2), ValueError, "`input_dim` must be a positive.*=4.5"),
    ("cell", lambda: cl.RNN(3), ValueError, "`cell` should have a `call` method. Received: cell=3"),
    ("normalize", lambda: cl.GraphConv(4, normalize="x"), ValueError,
     "`normalize`. Expected one of.*'symmetric', 'row', None.*Received: normalize='x'"),
    ("aggregate", lambda: cl.SAGEConv(4, aggregate="lstm"), ValueError,
     "`aggregate`. Expected one of .*'mean', 'sum', 'max'.*Received: aggregate='lstm'"),
    ("network", lambda: cl.GINConv(3), ValueError, "`network` must be a Keras layer.*network=3"),
    ("epsilon of GIN", lambda: cl.GINConv(cl.Dense(2), epsilon="a"), ValueError,
     "`epsilon` must be a finite number. Received: epsilon='a'"),
    ("alpha", lambda: cl.APPNP(alpha=2), ValueError, "`alpha` must be from 0 to 1. .*alpha=2"),
    ("alpha text", lambda: cl.APPNP(alpha="a"), ValueError, "`alpha` must be from 0.*alpha='a'"),
    ("lambda_max", lambda: cl.ChebConv(4, 2, lambda_max=0), ValueError,
     "`lambda_max` must be positive. Received: lambda_max=0"),
    ("num_bases", lambda: cl.RGCNConv(4, 2, 0), ValueError,
     "`num_bases` must be a positive integer.*num_bases=0"),
    ("num_graphs", lambda: cl.GraphSumPooling(0), ValueError,
     "`num_graphs` must be a positive integer.*num_graphs=0"),
]  # fmt: skip

CALLS = [
    ("rank of Dense", lambda: cl.Dense(4)(x(3)), ValueError, "expected min_ndim=2, found ndim=1"),
    ("another last axis", lambda: twice(cl.Dense(4), x(2, 3), x(2, 4)), ValueError,
     r"axis -1 of input shape to have value 3, but received input with shape \(2, 4\)"),
    ("unknown last axis", lambda: cl.Dense(4)(keras.Input((None,))), ValueError,
     r"last axis of the input of Dense must have a known size.*\(None, None\)"),
    ("unknown channels", lambda: cl.Conv2D(4, 3)(keras.Input((8, 8, None))), ValueError,
     "channel axis of the input must have a known size"),
    ("channels and groups", lambda: cl.Conv2D(4, 3, groups=2)(x(1, 8, 8, 3)), ValueError,
     "groups=2, but the input has 3 channels"),
    ("smaller than the window", lambda: cl.Conv2D(4, 3)(x(1, 2, 2, 3)), ValueError,
     r"output size would be zero or negative. Received: `inputs.shape=\(1, 2, 2, 3\)`"),
    ("rank of pooling", lambda: cl.MaxPooling2D(2)(x(1, 2, 3)), ValueError, "expected ndim=4"),
    ("whole numbers", lambda: cl.Dropout(0.5)(np.ones((2, 3), int), training=True), ValueError,
     "scales its input, which must be floating point. Received: dtype=int"),
    ("mask of pooling", lambda: cl.GlobalSumPooling1D()(x(2, 3, 4), mask=mask(2, 4)), ValueError,
     r"`mask` must have the shape \(B, T\), here \(2, 3\). Received: mask.shape=\(2, 4\)"),
    ("mask of statistics", lambda: cl.BatchNormalization()(x(2, 3, 4), mask=mask(2, 4)), ValueError,
     r"`mask` must have the shape of the input.*here \(2, 3\). Received: mask.shape=\(2, 4\)"),
    ("mask of Softmax", lambda: cl.Softmax()(x(2, 3), mask=mask(2, 4)), ValueError,
     r"`mask` must be broadcastable.*inputs.shape=\(2, 3\), mask.shape=\(2, 4\)"),
    ("mask of steps", lambda: cl.LSTM(4)(x(2, 3, 4), mask=mask(2, 4)), ValueError,
     r"`mask` must have the shape \(B, T\), here \(2, 3\). Received: mask.shape=\(2, 4\)"),
    ("mask without batch", lambda: cl.GRU(4)(x(2, 3, 4), mask=mask(3)), ValueError,
     r"`mask` must have the shape \(B, T\), here \(2, 3\). Received: mask.shape=\(3,\)"),
    ("one state of two", lambda: cl.LSTM(4)(x(2, 3, 4), initial_state=[x(2, 4)]), ValueError,
     r"states of LSTMCell must be 2 of the shape \(B, units\), here \(2, 4\).*\[\(2, 4\)\]"),
    ("width of a state", lambda: cl.GRU(4)(x(2, 3, 4), initial_state=x(2, 5)), ValueError,
     r"states of GRUCell must be 1 of the shape \(B, units\), here \(2, 4\).*\[\(2, 5\)\]"),
    ("batch of a state", lambda: cl.SimpleRNN(4)(x(2, 3, 4), initial_state=x(3, 4)), ValueError,
     r"states of SimpleRNNCell must be 1 .* here \(2, 4\). Received: \[\(3, 4\)\]"),
    ("state of a cell", lambda: cl.LSTMCell(4)(x(2, 3), [x(2, 4)]), ValueError,
     "states of LSTMCell must be 2 of the shape"),
    ("another width of steps", lambda: twice(cl.LSTM(4), x(2, 3, 4), x(2, 3, 5)), ValueError,
     r"LSTMCell was built for inputs of 4 features. Received: inputs.shape=\(2, 3, 5\)"),
    ("no steps", lambda: cl.GRU(4)(x(2, 0, 4)), ValueError, r"at least one time step.*\(2, 0, 4\)"),
    ("rank of steps", lambda: cl.LSTM(4)(x(2, 3)), ValueError, "expected ndim=3, found ndim=2"),
    ("batch of a stateful layer",
     lambda: twice(cl.LSTM(4, stateful=True), x(2, 3, 4), x(3, 3, 4)), ValueError,
     "Expected batch size: 2\n- Received batch size: 3"),
    ("id too large", lambda: cl.Embedding(4, 2)(np.array([[5]])), tf.errors.InvalidArgumentError,
     r"indices\[0,0\] = 5 is not in \[0, 4\)"),
    ("id of a bag too large", lambda: cl.EmbeddingBag(4, 2)(np.array([[5]])),
     tf.errors.InvalidArgumentError, r"an id is not below input_dim=4. Both:\D*5\s+4"),
    ("weights of a bag", lambda: cl.EmbeddingBag(4, 2)([np.array([[1, 2]]), x(1, 3)]), ValueError,
     r"EmbeddingBag needs a weight for each id. Received: ids \(1, 2\), weights \(1, 3\)"),
    ("nodes alone", lambda: cl.GraphConv(4)(NODES), ValueError, r"called on a list \[nodes, ed"),
    ("edges as floats", lambda: cl.GATConv(4)([NODES, EDGES.astype("float32")]), ValueError,
     "edges of GATConv must be integers. Received: dtype=float32"),
    ("nodes as integers", lambda: cl.SGConv(4)([NODES.astype(int), EDGES]), ValueError,
     "nodes of SGConv must be floating point .*Received: dtype=int"),
    ("edges as columns", lambda: cl.GraphConv(4)([NODES, np.ones((2, 3), int)]), ValueError,
     r"edges of GraphConv must have the shape \(E, 2\).*Received: \(2, 3\)"),
    ("edges of another rank", lambda: cl.GraphConv(4)([x(2, 3, 5), EDGES]), ValueError,
     r"edges of GraphConv must have the shape \(B, E, 2\).*Received: \(2, 2\)"),
    ("edge out of range", lambda: cl.SAGEConv(4)([NODES, np.array([[0, 3]])]),
     tf.errors.InvalidArgumentError, "points at a node that does not exist.*(?s:.)3(?s:.)*3"),
    ("another batch of edges", lambda: cl.GraphConv(4)([x(2, 3, 5), np.ones((3, 2, 2), int)]),
     ValueError, r"batch of nodes and of edges. Received: \(2, 3, 5\) and \(3, 2, 2\)"),
    ("too many weights", lambda: cl.GraphConv(4)([NODES, EDGES, x(3)]), ValueError,
     r"so the shape \(E\). Received: edges \(2, 2\), values \(3,\)"),
    ("weights as a column", lambda: cl.APPNP()([NODES, EDGES, x(2, 1)]), ValueError,
     r"so the shape \(E\). Received: edges \(2, 2\), values \(2, 1\)"),
    ("features of edges", lambda: cl.EdgeConv(cl.Dense(3))([NODES, EDGES, x(3, 3)]), ValueError,
     r"so the shape \(E, D\). Received: edges \(2, 2\), values \(3, 3\)"),
    ("weights for the maximum", lambda: cl.SAGEConv(4, aggregate="max")([NODES, EDGES, x(2)]),
     ValueError,
     "does not use edge weights. Received: input_shape="),
    ("relation out of range", lambda: cl.RGCNConv(4, 2)([NODES, EDGES, np.array([0, 2])]),
     tf.errors.InvalidArgumentError, r"relation is not below num_relations=2. Both:\D*2\s+2"),
    ("mask of nodes", lambda: cl.GraphConv(4)([NODES, EDGES], mask=[mask(4), None]), ValueError,
     r"`mask` must have the shape \(N,\), here \(3,\). Received: mask.shape=\(4,\)"),
    ("another width of nodes", lambda: twice(cl.GraphConv(4), [NODES, EDGES], [x(3, 6), EDGES]),
     ValueError, r"built for nodes of 5 features. Received: nodes of shape \(3, 6\)"),
    ("graph ids missing", lambda: cl.GraphSumPooling(2)([NODES, np.array([0, 0])]), ValueError,
     r"a graph id for each node. Received: nodes \(3, 5\), graph_ids \(2,\)"),
    ("graph id out of range", lambda: cl.GraphMaxPooling(2)([NODES, np.array([0, 0, 2])]),
     tf.errors.InvalidArgumentError, "graph id is not below the number of graphs. Both:(?s:.)*2"),
]  # fmt: skip

FUNCTIONS = [
    ("matrix not square", lambda: graphs.to_edges(x(2, 3)), ValueError, r"square.*shape=\(2, 3\)"),
    ("no node 3", lambda: graphs.check_edges([[0, 1], [0, 3]], 3), ValueError,
     r"Edge 1 is \[0, 3\], but there are 3 nodes, 0 to 2"),
    ("half a node", lambda: graphs.check_edges([[0, 1]], 2.5), ValueError,
     "`num_nodes` must be an integer of at least 0. Received: 2.5"),
    ("minus three nodes", lambda: graphs.incoming_edges([[0, 1]], -3), ValueError,
     "`num_nodes` must be an integer of at least 0. Received: -3"),
    ("edges in a row", lambda: graphs.add_reverse_edges([0, 1]), ValueError,
     r"rows \(source, target\) of integers. Received: shape=\(2,\), dtype=int64"),
    ("edges of floats", lambda: graphs.add_reverse_edges(x(2, 2)), ValueError, "dtype=float32"),
    ("edges of three", lambda: graphs.add_reverse_edges([[0, 1, 2]]), ValueError, r"=\(1, 3\)"),
    ("weights of other edges", lambda: graphs.add_reverse_edges([[0, 1]], [1, 2, 3]), ValueError,
     r"`edge_weights` must hold a weight for each edge. Received: \(3,\) weights, \(1, 2\) edges"),
    ("weights to normalize", lambda: graphs.normalize_edges(EDGES, 3, x(3)), ValueError,
     r"`edge_weights` must hold a weight for each edge. Received: \(3,\) weights"),
    ("normalize both", lambda: graphs.normalize_edges(EDGES, 3, normalize="both"), ValueError,
     "`normalize`. Expected 'symmetric', 'row' or None. Received: normalize='both'"),
    ("seed twice", lambda: graphs.sample_neighbors(INDEX, [0, 0], [2]), ValueError,
     r"`seeds` must be different nodes below 3. Received: \[0, 0\]"),
    ("seed out of range", lambda: graphs.sample_neighbors(INDEX, [5], [2]), ValueError,
     r"`seeds` must be different nodes below 3. Received: \[5\]"),
    ("negative seed", lambda: graphs.sample_neighbors(INDEX, [-1], [2]), ValueError,
     r"`seeds` must be different nodes below 3. Received: \[-1\]"),
    ("half a seed", lambda: graphs.sample_neighbors(INDEX, [0.5], [2]), ValueError,
     r"`seeds` must be different nodes below 3. Received: \[0.5\]"),
    ("sizes", lambda: graphs.sample_neighbors(INDEX, [0], [2.5]), ValueError,
     r"`sizes` must be numbers of edges or None. Received: \[2.5\]"),
    ("pack to no size", lambda: graphs.pack(PACKABLE, 2, pad_to=(0, 8)),
     ValueError, r"`pad_to\[0\]` must be a positive integer. Received: pad_to\[0\]=0"),
    ("pack to one size", lambda: graphs.pack(PACKABLE, 2, pad_to=(8,)),
     ValueError, r"`pad_to` must be two sizes, \(N, E\). Received: pad_to=\(8,\)"),
    ("pack without edges", lambda: graphs.pack(PACKABLE, 2),
     ValueError, r"pack needs `nodes` and `edges`. Received: \['nodes'\]"),
    ("convert a number", lambda: convert.to_custom(3), ValueError, "of type 'int'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "pattern"),
    [pytest.param(*case[1:], id=case[0]) for case in LAYERS + CALLS + FUNCTIONS],
)
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_layers_and_functions(call, error, pattern):
    with pytest.raises(error, match=f"(?s){pattern}") as raised:
        call()
    assert error is not ValueError or not isinstance(raised.value, tf.errors.OpError)


def no_run(folder):
    return folder


def finished(folder):
    """What a finished run holds, but for the model."""
    settings = dict.fromkeys(("data_dir", "download_dir"))
    settings |= {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "l1": 0, "l2": 0, "seed": 0}
    settings |= {"dropout": 0, "layers": "keras", "strategy": "none", "tensorboard": False}
    run = folder / "run"
    run.mkdir()
    (run / "recipe.json").write_text(json.dumps({"recipe": "digits-mlp", "settings": settings}))
    (run / "metrics.json").write_text('{"test": {}}')
    (run / "model.keras").write_text("no model")
    return run


def without_recipe(folder):
    run = finished(folder)
    (run / "recipe.json").write_text('{"settings": {}}')
    return run


def unfinished(folder):
    partial = run_folder.unfinished(folder / "run")
    finished(folder).rename(partial)
    (partial / "checkpoints").mkdir()
    (partial / "checkpoints" / "epoch-00001.npz").touch()
    return folder / "run"


def of_nothing(folder):
    run_folder.unfinished(folder / "run").mkdir()
    return folder / "run"


TRAIN = [
    ("", "name a RECIPE, or see --list"),
    ("digit-mlp", "there is no recipe digit-mlp: did you mean digits-mlp"),
    ("xyz", "there is no recipe xyz: see --list"),
    ("digits-mlp --epochs 0", "--epochs: expected a whole number of at least 1, received '0'"),
    (
        "digits-mlp --epochs many",
        "--epochs: expected a whole number of at least 1, received 'many'",
    ),
    ("digits-mlp --batch-size -1", "--batch-size: expected a whole number .* received '-1'"),
    ("digits-mlp --learning-rate 0", "--learning-rate: expected a number above 0, received '0'"),
    ("digits-mlp --l1 nan", "--l1: expected a number of at least 0, received 'nan'"),
    ("digits-mlp --l2 -1", "--l2: expected a number of at least 0, received '-1'"),
    ("digits-mlp --epochs 1.5", "--epochs: expected a whole number of at least 1, received '1.5'"),
    ("digits-mlp --learning-rate nan", "--learning-rate: expected a number above 0"),
    ("digits-mlp --dropout 1.5", r"--dropout: expected a number in \[0, 1\), received '1.5'"),
    ("digits-mlp --dropout 1", r"--dropout: expected a number in \[0, 1\), received '1'"),
    ("digits-mlp --l2 inf", "--l2: expected a number of at least 0, received 'inf'"),
    ("digits-mlp --seed -1", "--seed: expected a whole number from 0 to 4294967295"),
    ("digits-mlp --data mnist:9.9.9", "--data: expected a name .* received 'mnist:9.9.9'"),
    (
        "digits-mlp --seed 1e3",
        "--seed: expected a whole number from 0 to 4294967295, received '1e3'",
    ),
    (
        "digits-mlp --layers torch",
        "--layers: expected one of .*'keras'.*, received 'torch'",
    ),
    (
        "digits-mlp --strategy horovod",
        "--strategy: expected one of .*'mirrored'.* 'horovod'",
    ),
    ("digits-mlp --strategy multiworker", "--strategy multiworker needs the variable TF_CONFIG"),
    ("digits-mlp --epoch-count 3", "unrecognized arguments: --epoch-count 3"),
    ("digits-mlp --output", "--output: expected one argument"),
    ("digits-mlp --output /dev/null/run", "cannot write to /dev/null .*: --output names another"),
    ("mnist-mlp --download-dir nowhere --output RUN", "there is no recipe mnist-mlp: did you mean"),
    ("mnist-convnet --download-dir nowhere --output RUN", "--download-dir: .* folder nowhere"),
]
RUNS = [
    (train, "digits-mlp --resume RUN", no_run, "RUN does not exist: there is nothing to resume"),
    (train, "digits-mlp --resume RUN", finished, "RUN is finished: there is nothing to resume"),
    (train, "digits-mlp --output RUN", finished, "RUN exists: --overwrite replaces it, --output"),
    (train, "digits-mlp --output RUN", unfinished, "is unfinished: --resume RUN continues it"),
    (train, "wine-mlp --resume RUN", unfinished, "RUN is a run of digits-mlp, not of wine-mlp"),
    (train, "digits-mlp --resume RUN --epochs 9", unfinished, "begun with epochs 3, .*received 9"),
    (train, "digits-mlp --resume RUN", of_nothing, "recipe.json cannot be read: .*No such file"),
    (evaluate, "RUN", no_run, "RUN is not a run: expected a folder that"),
    (evaluate, "RUN", without_recipe, "recipe.json: expected the name of a recipe under `recipe`"),
    (evaluate, "RUN --data-dir", no_run, "--data-dir: expected one argument"),
    (export, "RUN", no_run, "RUN is not a run: expected a folder that"),
    (export, "RUN", finished, "model.keras cannot be read: File is not a zip file"),
    (sample, "RUN", finished, "RUN is not the run of a language model"),
    (sample, "RUN --temperature -1", finished, "--temperature: expected a number of at least 0"),
    (sample, "RUN --length 0", finished, "--length: expected a whole number of at least 1"),
    (translate, "RUN text", finished, "RUN is not the run of a translation"),
    (translate, "RUN", finished, "the following arguments are required: TEXT"),
    (launch, "digits-mlp --workers 0", no_run, "--workers: expected a whole number of at least 1"),
    (launch, "digits-mlp --restarts -1", no_run, "--restarts: expected a whole number from 0"),
    (launch, "digit-mlp", no_run, "there is no recipe digit-mlp: did you mean digits-mlp"),
]


@pytest.mark.parametrize(
    ("script", "line", "make", "pattern"),
    [(train, line, no_run, pattern) for line, pattern in TRAIN] + RUNS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_command_lines(script, line, make, pattern, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    made = make(tmp_path)
    run = str(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        script.main([run if part == "RUN" else part for part in line.split()])
    error = capsys.readouterr().err.splitlines()[-1].replace(run, "RUN")
    assert error.startswith("error: ")
    assert re.search(pattern, error), error
    assert sorted(tmp_path.rglob("*")) == before
    assert made in (tmp_path, pathlib.Path(run))


@pytest.mark.parametrize(
    ("load", "name", "pattern"),
    [
        (load_images, "no_such_set", "data set no_such_set: .*not found"),
        (load_images, "wine", "data set wine does not consist of images with one class each"),
        (load_table, "stdlib_source", "data set stdlib_source is not a table with one class"),
        (load_texts, "digits", "data set digits does not consist of texts with one class each"),
        (load_nodes, "digits", "data set digits is not one graph with a class for each node"),
        (load_images, "../digits", "data set ../digits"),
    ],
)
def test_data_sets(load, name, pattern, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "data"
    with pytest.raises(InputError, match=pattern):
        load(name, batch_size=8, seed=0, data_dir=str(folder))
