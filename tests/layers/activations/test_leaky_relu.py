"""LeakyReLU: Keras's twin with a derivative of its own."""

import keras
import numpy as np
import pytest

from custom_layers import LeakyReLU
from custom_layers.checks import check_backward, check_signature, check_twin

X = np.random.default_rng(0).standard_normal((5, 7))


@pytest.mark.parametrize("slope", [0, 0.3, 1, 2.5])
def test_backward(slope):
    check_backward(LeakyReLU(slope, dtype="float64"), X)


@pytest.mark.parametrize(
    ("slope", "dtype"), [(0.0, "bfloat16"), (0.3, "float32"), (0.3, "float16"), (2, "float64")]
)
def test_twin(slope, dtype):
    arguments = {"negative_slope": slope, "dtype": dtype}
    check_twin(LeakyReLU, keras.layers.LeakyReLU, arguments, X)
    check_signature(LeakyReLU, keras.layers.LeakyReLU)


def test_built_at_once():
    layer = LeakyReLU()
    assert layer.built
    assert layer.supports_masking


@pytest.mark.parametrize("slope", [None, -0.1])
def test_wrong_slope(slope):
    with pytest.raises(ValueError, match=f"Leaky ReLU .* Received: negative_slope={slope}"):
        LeakyReLU(slope)


def test_former_name_of_the_slope():
    assert LeakyReLU(alpha=0.1).negative_slope == 0.1
