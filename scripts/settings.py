"""settings: the settings of a training, each declared here, once.

The options of scripts.train, the defaults of a recipe, the check of somebody else's `recipe.json`
and `--list` walk these fields.
"""

import argparse
import dataclasses
import json

from scripts.training import command_line
from scripts.training.command_line import InputError, choice

# Older runs do not have these.
MAY_LACK = {"data", "label", "image_size", "skip_broken", "import_module"}


def setting(default, check, about):
    return dataclasses.field(default=default, metadata={"check": check, "about": about})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """The settings for which each recipe has defaults of its own."""

    epochs: int = setting(20, command_line.count, "passes over the training data")
    batch_size: int = setting(64, command_line.count, "examples a step")
    learning_rate: float = setting(1e-3, command_line.rate, "at the start")
    dropout: float = setting(0.25, command_line.fraction, "fraction of features dropped")
    l1: float = setting(0.0, command_line.factor, "penalty on |weights| of the kernels")
    l2: float = setting(1e-4, command_line.factor, "penalty on squared weights")


PATH = command_line.name(r"[^\0]+")
# Without a version: tfds would read from a file beside the data which classes to import.
DATA_SET = dataclasses.replace(
    command_line.name(
        r"(folder|csv|texts|series|graphs):[^\0]+"
        r"|tfds:\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?|\w+(/[\w.-]+)?"
    ),
    expected="a name that --list tells, folder:PATH, csv:PATH, texts:PATH, series:PATH, "
    "graphs:PATH or tfds:NAME[:VERSION]",
)
SIZE = command_line.Check("two whole numbers", json.loads, lambda value: is_size(value))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Hyperparameters):
    """All settings of a run, as its `recipe.json` holds them."""

    data: str | None = setting(
        None,
        DATA_SET,
        "another data set: a name that --list tells, folder:PATH, csv:PATH, texts:PATH, "
        "series:PATH, graphs:PATH or tfds:NAME[:VERSION] (default: that of RECIPE)",
    )
    label: str | None = setting(None, PATH, "of a table, the column to be told (default: none)")
    image_size: tuple | None = setting(
        None, SIZE, "scale images to this height and width (default: as they are)"
    )
    skip_broken: bool = setting(
        False, choice(False, True), "leave out images that cannot be read, and count them"
    )
    import_module: str | None = setting(
        None,
        command_line.name(r"\w+(\.\w+)*"),
        "import this module first, for a builder of tensorflow-datasets in it (default: none)",
    )
    seed: int = setting(0, command_line.seed, "of everything random")
    layers: str = setting("custom", choice("custom", "keras"), "whose layers: custom or keras")
    strategy: str = setting(
        "none",
        choice("none", "mirrored", "multiworker"),
        "train on one device (none), on all of this machine (mirrored) or on several machines",
    )
    tensorboard: bool = setting(False, choice(False, True), "write TensorBoard's logs too")
    data_dir: str | None = setting(None, PATH, "prepared data (default: ~/tensorflow_datasets)")
    download_dir: str | None = setting(
        None, PATH, "files as downloaded (default: DATA_DIR/downloads)"
    )


def is_size(value):
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and 1 <= side <= 10_000 for side in value)
    )


def of_recipe(recipe, **given):
    """The recipe's settings, with those that are given in their place."""
    own = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Hyperparameters)}
    return Settings(**{**own, "data": recipe.data.name, **given})


def add_options(parser, *names):
    """Add an option for each setting of these names, or for all."""
    for field in dataclasses.fields(Settings):
        if names and field.name not in names:
            continue
        kind = {"type": field.metadata["check"]}
        if field.type is bool:
            kind = {"action": "store_true", "default": None}
        if field.name == "image_size":
            kind = {"type": command_line.count, "nargs": 2, "metavar": ("H", "W")}
        flag, about = f"--{field.name.replace('_', '-')}", field.metadata["about"]
        if field.name == "import_module":  # `import` is no name of Python's
            flag, kind = "--import", {**kind, "dest": field.name, "metavar": "MODULE"}
        if field.name in {own.name for own in dataclasses.fields(Hyperparameters)}:
            about += " (default: that of RECIPE)"
        elif "(default: " not in about:  # the parser's own is none: that it is not given
            about += f" (default: {'no' if field.default is False else field.default})"
        parser.add_argument(flag, help=about, **kind)


def given(options):
    """The settings among parsed options, without those that were not given."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    return {name: value for name, value in values.items() if value is not None}


def check_settings(path, content):
    """The Settings of a `recipe.json` at `path` that anybody may have written.

    A value must be what the command line would have made of its text.
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    odd = (content.keys() ^ fields.keys()) - (MAY_LACK - content.keys())
    if odd:
        raise InputError(f"{path}: unknown or missing settings: {', '.join(sorted(odd))}")
    for name, value in content.items():
        check = fields[name].metadata["check"]
        try:
            if not (value is None and fields[name].default is None) and check(str(value)) != value:
                raise argparse.ArgumentTypeError(f"expected {check.expected}, received {value!r}")
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{path}: setting {name}: {error}") from error
    return Settings(**content)
