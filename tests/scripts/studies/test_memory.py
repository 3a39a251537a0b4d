"""What an edge costs in training, on molecules and on a large graph in the same layer."""

import csv
import re

import pytest

from scripts.studies import memory


def test_a_table_is_written(tmp_path, capfd):
    sizes = ["--nodes", "2000", "--edges", "500000", "--mode", "xla"]
    memory.main(["GraphConv", *sizes, "--output", str(tmp_path)])
    assert re.search(r"GraphConv: \d+ bytes an edge, \d+\.\d+ s a step", capfd.readouterr().out)
    (path,) = tmp_path.glob("graph-memory-xla*.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    (row,) = csv.DictReader(line for line in lines if not line.startswith("#"))
    assert (row["layer"], row["nodes"], row["edges"]) == ("GraphConv", "2000", "500000")
    assert 20 < int(row["bytes_an_edge"]) < 5000  # the two indices and a weight are 20


@pytest.mark.parametrize("name", memory.LAYERS)
def test_each_layer_trains(name):
    assert memory.measure(name, "graph", 50, 300)[1] > 0


@pytest.mark.parametrize("library", ["custom_layers", "keras.layers"])
def test_attention_trains(library):
    assert memory.measure_attention(library, "graph", 40, True)[1] > 0


@pytest.mark.long
def test_attention_takes_a_quarter_of_keras_memory():
    cost, theirs = (
        memory.in_a_process(library, "graph", 2048, False, function="measure_attention")[0]
        for library in ("custom_layers", "keras.layers")
    )
    assert cost < theirs / 4


def test_an_unknown_layer(capsys):
    with pytest.raises(SystemExit) as exit:
        memory.main(["Dense"])
    assert exit.value.code == 2
    assert "unknown layer Dense: expected GraphConv, SAGEConv" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_attention_of_eight_heads_on_1200000_edges(mode):
    cost, _ = memory.in_a_process("GATConv", mode, 169_000, 1_200_000)
    assert cost <= 1100
