"""What `import custom_layers` offers."""

import subprocess
import sys

import keras

import custom_layers


def test_each_name_that_keras_has_for_a_class():
    """`MaxPool2D` for `MaxPooling2D`, and so on."""
    aliases = 0
    for name, theirs in vars(keras.layers).items():
        if isinstance(theirs, type) and hasattr(custom_layers, theirs.__name__):
            assert getattr(custom_layers, name) is getattr(custom_layers, theirs.__name__)
            aliases += name != theirs.__name__
    assert aliases >= 18


def test_modules_are_there_after_the_import():
    code = "import custom_layers as cl; print(cl.graphs.pack, cl.convert.to_keras, cl.checks)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
