"""batch_renorm: its limits and its two numbers. The layer with `renorm` is in test_batch_norm."""

import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from custom_layers.normalization.batch_renorm import check_clipping, correction


def test_without_limits_the_moving_averages_normalize():
    mean, stddev, past_mean, past_stddev = map(tf.constant, ([1.0], [2.0], [0.5], [4.0]))
    r, d = correction(mean, stddev, past_mean, past_stddev, 1e-3, {})
    x = tf.constant([3.0, -1.0])
    assert_near("x̃", (x - mean) / stddev * r + d, (x - past_mean) / past_stddev)


@pytest.mark.parametrize(
    ("clipping", "r", "d"),
    [
        ({}, 5.0, -4.0),
        ({"rmax": 3.0}, 3.0, -4.0),
        ({"rmin": 6.0, "dmax": 1.0}, 6.0, -1.0),
        ({"rmin": None, "rmax": 0.0, "dmax": 0}, 0.0, 0.0),
    ],
    ids=str,
)
def test_limits(clipping, r, d):
    numbers = map(tf.constant, ([1.0], [10.0], [9.0], [2.0]))
    assert_near("r and d", tf.stack(correction(*numbers, 1e-3, clipping)), [[r], [d]])


def test_a_deviation_of_zero_is_lifted():
    numbers = map(tf.constant, ([0.0], [1.0], [0.0], [0.0]))
    assert_near("r", correction(*numbers, 0.25, {})[0], [2.0])


def test_errors():
    with pytest.raises(ValueError, match=r"Received invalid keys for `renorm_clipping`.*'r'"):
        check_clipping({"r": 1.0})
    with pytest.raises(ValueError, match="rmax should be greater than rmin.*rmax=0.0, rmin=1.0"):
        check_clipping({"rmax": 0.0, "rmin": 1.0})
    with pytest.raises(ValueError, match="dmax should be non-negative.*dmax=-1"):
        check_clipping({"dmax": -1})
    assert check_clipping(None) == {}
