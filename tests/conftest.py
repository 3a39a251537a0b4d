"""Every test starts from the same seed; accuracy of products is never traded for speed."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(False)


@pytest.fixture(autouse=True)
def fresh():
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
