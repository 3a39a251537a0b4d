"""asked: files as the inputs of a trained model, by what the model itself knows of them."""

import io
import pathlib
import sys

import numpy as np
import tensorflow as tf

from custom_layers.graphs import pack
from models.whole import Classes, Columns
from scripts.data.own import folders, frames, graphs, series
from scripts.training.command_line import InputError

BATCH = 64


def layer_of(model, kind):
    """The first layer of that class in a model, or None."""
    return next((x for x in model._flatten_layers() if isinstance(x, kind)), None)


def classes_of(model):
    """The names of a model's classes; their numbers where it does not know them, None if none."""
    layer = layer_of(model, Classes)
    if layer is not None:
        return list(layer.names)
    last = model.layers[-1]
    if getattr(getattr(last, "activation", None), "__name__", "") == "softmax":
        return [str(i) for i in range(model.output_shape[-1])]
    return None


def known(model):
    """What `load_...(like=)` must know of a trained model."""
    columns = layer_of(model, Columns)
    shape = model.input_shape
    return {
        "classes": classes_of(model) or [],
        "columns": None if columns is None else columns.columns,
        "shape": shape[1:] if isinstance(shape, tuple) else None,
    }


def inputs_of(model, files, column=None):
    """(names of the examples, what the model is called with)."""
    kind = kind_of(model)
    names, inputs = [], []
    for file in files:
        for name, x in READERS[kind](model, file, column):
            names.append(name)
            inputs.append(x)
    if not names:
        raise InputError(f"{', '.join(files)}: there is nothing to ask about")
    return names, inputs


def kind_of(model):
    """What a model is asked about, by its inputs."""
    inputs = tf.nest.flatten(model.inputs)
    if isinstance(model.input, dict) and {"nodes", "edges"} <= model.input.keys():
        return "graphs"
    if len(inputs) == 1 and inputs[0].dtype == "string":
        return "texts"
    if layer_of(model, Columns) is not None:
        return "rows"
    if len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].shape[-1] in (1, 3):
        return "images"
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name == "values":
        return "series"
    shapes = [tuple(x.shape[1:]) for x in inputs]
    raise InputError(f"a model of inputs {shapes} is not asked about files: use it from Python")


def path_of(file):
    """The file, or standard input; an error where there is none."""
    if file == "-":
        return io.StringIO(sys.stdin.read())
    path = pathlib.Path(file)
    if not path.is_file():
        raise InputError(f"{file}: there is no such file")
    return path


def images(model, file, column):
    if file == "-":
        raise InputError("an image does not come from standard input: name its file")
    height, width, channels = model.input_shape[1:]
    image = folders.scaled(folders.read(path_of(file)), (height, width), channels)
    rescales = any(type(x).__name__ == "Rescaling" for x in model._flatten_layers())
    yield file, image if rescales else image / 255


def rows(model, file, column):
    frame = frames.read_frame(path_of(file))
    x = frames.encoded(frame, layer_of(model, Columns).columns, f"csv:{file}")
    for number, row in enumerate(x, 2):
        yield f"{file}:{number}", row


def texts(model, file, column):
    path = path_of(file)
    if file == "-":
        for number, line in enumerate(path.read().splitlines(), 1):
            yield f"-:{number}", line
    elif path.suffix in (".csv", ".tsv"):
        frame = frames.read_frame(path)
        key = column or ("text" if "text" in frame else frame.columns[0])
        if key not in frame or (column is None and "text" not in frame and len(frame.columns) > 1):
            raise InputError(f"{file}: --column is one of {frames.columns(frame)}")
        for number, text in enumerate(frame[key].fillna("").astype(str), 2):
            yield f"{file}:{number}", text
    else:
        try:
            yield file, path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is no text in UTF-8: {error}") from error


def values(model, file, column):
    history = model.input_shape[1]
    values = series.values_of(path_of(file), column)
    if len(values) < history:
        raise InputError(f"{file} has {len(values)} values, the model looks back at {history}")
    yield file, values[-history:]


def lines(model, file, column):
    path = path_of(file)
    text = path.read() if file == "-" else path.read_text(encoding="utf-8")
    width = model.input["nodes"].shape[-1]
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            graph, _ = graphs.one(line, f"{file}, line {number}", labeled=False)
            if graph["nodes"].shape[1] != width:
                raise InputError(
                    f"{file}, line {number}: a node has {graph['nodes'].shape[1]} features, the "
                    f"model was trained on {width}"
                )
            yield f"{file}:{number}", graph


READERS = {"images": images, "rows": rows, "texts": texts, "series": values, "graphs": lines}


def run(model, inputs, count):
    """The model's answers `(count, ...)`."""
    if isinstance(inputs[0], dict):
        packed = pack(inputs, min(count, BATCH))
        return np.concatenate([model.predict_on_batch(batch) for batch in packed])
    array = tf.constant(inputs) if isinstance(inputs[0], str) else np.stack(inputs)
    parts = [array[i : i + BATCH] for i in range(0, count, BATCH)]
    return np.concatenate([model.predict_on_batch(part) for part in parts])
