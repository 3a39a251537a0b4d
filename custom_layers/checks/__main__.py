"""Check a layer from the command line.

    python -m custom_layers.checks keras.layers:Dense --input 4,8 --args '{"units": 7}'

The exit status is 0 if every promise holds, 1 if one is broken, 2 if it could not be checked.
"""

import argparse
import importlib
import json
import sys

import numpy as np

from custom_layers.checks.proof import ALL, check_layer
from custom_layers.checks.report import CannotCheck


def main(arguments=None):
    """Check what the command line names; the exit status."""
    options = parser().parse_args(arguments)
    try:
        layer = find(options.layer)
        settings = json.loads(options.args)
        inputs = [random_array(text, options.seed + i) for i, text in enumerate(options.input)]
        report = check_layer(
            lambda: layer(**settings),
            inputs[0] if len(inputs) == 1 else inputs,
            twin=options.twin and find(options.twin),
            promises=options.promise or ALL,
            seed=options.seed,
            **json.loads(options.call),
        )
    except CannotCheck as error:
        print(error, file=sys.stderr)
        return 2
    except json.JSONDecodeError as error:
        print(f"--args and --call want JSON: {error}", file=sys.stderr)
        return 2
    print(report)
    return 1 if report.broken else 0


def parser():
    promises = "\n".join(f"  {p.__name__:22} {p.__doc__.splitlines()[0]}" for p in ALL)
    result = argparse.ArgumentParser(
        prog="python -m custom_layers.checks",
        description="Hold a Keras layer to what every layer promises.",
        epilog=f"promises:\n{promises}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("layer", metavar="MODULE:LAYER", help="such as keras.layers:Dense")
    add(
        "--input",
        action="append",
        required=True,
        metavar="SHAPE[:DTYPE]",
        help="the shape of an input, batch first: 4,8,3 or 4,8:int32; once for each input",
    )
    add("--args", default="{}", metavar="JSON", help="arguments of the layer's constructor")
    add("--call", default="{}", metavar="JSON", help="arguments of the call")
    add("--twin", metavar="MODULE:LAYER", help="a layer that it drops in for")
    add("--promise", action="append", metavar="NAME", help="prove this one only; may be repeated")
    add("--seed", type=int, default=0, help="of weights, inputs and random numbers")
    return result


def find(name):
    """The class of `module:name`."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotCheck(f"there is no layer {name!r}, expected MODULE:LAYER ({error})") from error


def random_array(text, seed):
    """An array of `shape[:dtype]`: normal floats, or integers below 8."""
    shape, _, dtype = text.partition(":")
    rng = np.random.default_rng(seed)
    try:
        shape, dtype = tuple(int(size) for size in shape.split(",")), np.dtype(dtype or "float32")
    except (TypeError, ValueError) as error:
        raise CannotCheck(f"--input {text!r} is not SHAPE[:DTYPE], such as 4,8:int32") from error
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2 if dtype.kind == "b" else 8, shape).astype(dtype)


if __name__ == "__main__":
    sys.exit(main())
