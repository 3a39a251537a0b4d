"""Every test starts from the same seed; accuracy of products is never traded for speed."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow decides by the processor; without oneDNN's kernels some of Keras's layers, with which
# ours are compared, do not run on a CPU (channels first, transposed with dilation).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import pytest
import tensorflow as tf
from hypothesis import settings

# Few examples in every run, the same each time; `make fuzz` takes the profile `long`.
settings.register_profile("short", max_examples=12, derandomize=True)
settings.register_profile("long", max_examples=1500)
settings.load_profile("short")

tf.config.experimental.enable_tensor_float_32_execution(False)


@pytest.fixture(autouse=True)
def fresh():
    keras.utils.set_random_seed(0)
    keras.backend.clear_session(free_memory=False)  # the garbage can wait: it takes 0.2 s a test
