"""For each layer and each way to differentiate: the right gradient, or a clear error; never zero.

The table is written by `python -m tests.promises.ways_to_differentiate`; here it is held to what
the layers do.
"""

import pytest

from tests.promises.every_layer import ROWS
from tests.promises.ways_to_differentiate import WAYS, read, rows_of

SHORT = {"Dense", "Conv2D", "LayerNormalization", "ReLU"}


@pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in ROWS]
)
@pytest.mark.filterwarnings("ignore")  # TensorFlow warns of jacobians in loops
def test_ways(name):
    outcomes = rows_of(name)
    wrong = {way: said for way, said in outcomes.items() if said.startswith("wrong")}
    assert not wrong
    assert outcomes == read().get(name, outcomes)


def test_the_table_says_right_or_which_error():
    table = read()
    assert set(table) >= SHORT
    for name, row in table.items():
        assert name in ROWS
        assert list(row) == list(WAYS)
        assert not {said for said in row.values() if said.startswith("wrong") or not said}
