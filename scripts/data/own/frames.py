"""frames: a table in a CSV or TSV file, `csv:PATH --label COLUMN`.

A column of numbers stays; of texts, it becomes the number of its category. What is missing is NaN.
`models.whole.Columns` fills, scales and spreads them, so that this is part of the model.
"""

import pathlib

import numpy as np
import pandas as pd

from scripts.data.own.parts import PARTS, batches, check_parts, classes_of, part_of
from scripts.data.tables import Table
from scripts.training.command_line import InputError

MOST = 100  # categories of a column


def read_frame(path):
    """The table in a CSV or, by its name, TSV file, or in a stream."""
    tabs = not hasattr(path, "read") and pathlib.Path(path).suffix == ".tsv"
    try:
        frame = pd.read_csv(path, sep="\t" if tabs else ",")
    except FileNotFoundError as error:
        raise InputError(f"csv:{path}: there is no such file") from error
    except (OSError, ValueError, pd.errors.ParserError) as error:  # ParserError names the line
        raise InputError(
            f"csv:{path} cannot be read: {error}: expected a line of names, then rows of as many "
            "values with commas between them, in UTF-8"
        ) from error
    if frame.empty:
        raise InputError(f"csv:{path} has no rows below its line of names")
    return frame


def column_of(frame, name, option, path):
    if name is None:
        raise InputError(f"csv:{path}: {option} COLUMN names the one to be told: {columns(frame)}")
    if name not in frame:
        raise InputError(f"csv:{path} has no column {name}: {option} is one of {columns(frame)}")
    return frame[name]


def columns(frame):
    return ", ".join(map(str, frame.columns))


def load_csv(path, *, batch_size, seed, label=None, like=None):
    """The pipelines of a table, whose column `label` is a class.

    Args:
        path: of the file.
        batch_size: of all three parts.
        seed: of the order of the training part.
        label: the column to be told from the others.
        like: `classes` and `columns` of a trained model, for which all of this is a test.
    """
    name, frame = f"csv:{path}", read_frame(path)
    answers = column_of(frame, label, "--label", path)
    if answers.isna().any():
        row = int(np.flatnonzero(answers.isna())[0]) + 2
        raise InputError(
            f"{name}, line {row}: column {label} is empty: fill it in, or remove the line"
        )
    if pd.api.types.is_float_dtype(answers) and (answers % 1 != 0).any():
        raise InputError(
            f"{name}: column {label} holds numbers such as {answers.iloc[0]}: this recipe tells "
            "classes"
        )
    texts = answers.astype(str)
    classes = classes_of(f"{name}: column {label}", texts, like)
    part = np.array([part_of(row.encode()) for row in frame.to_csv(index=False).split("\n")[1:-1]])
    part = np.full(len(part), "test") if like else part
    counts = {p: int((part == p).sum()) for p in PARTS}
    check_parts(name, counts, "add rows", like)
    if like:
        kept = like["columns"]
    else:
        kept = [described(frame[key], part == "train") for key in frame if key != label]
        kept = [column for column in kept if column is not None]
    if not kept:
        raise InputError(f"{name}: no column but {label} has numbers or categories")
    x = encoded(frame, kept, name)
    y = texts.map(classes.index).to_numpy()
    found = {
        "examples": counts,
        "classes": {c: int((texts == c).sum()) for c in classes},
        "columns": {
            c["name"]: f"{len(c['categories'])} categories" if "categories" in c else "numbers"
            for c in kept
        },
        "left out": ", ".join(str(k) for k in frame if k != label and k not in names(kept)) or 0,
        "missing": {str(k): int(n) for k, n in frame.isna().sum().items() if n} or 0,
        "split": "by hash of the row",
    }
    return Table(
        name=name,
        **{
            p: batches(x[part == p], y[part == p], batch_size, seed if p == "train" else None)
            for p in PARTS
        },
        shape=(sum(len(column.get("categories", " ")) for column in kept),),
        moments=None,
        columns=tuple(kept),
        classes=tuple(classes),
        found=found,
    )


def names(kept):
    return {column["name"] for column in kept}


def described(values, training):
    """What `models.whole.Columns` must know of a column; None if it is to be left out."""
    known = values[training].dropna()
    if len(known) == 0:
        return None
    if pd.api.types.is_numeric_dtype(values):
        known = known.astype("float64")
        return {
            "name": values.name,
            "mean": float(known.mean()),
            "variance": float(known.var(ddof=0)),
        }
    categories = sorted(set(known.astype(str)))
    if len(categories) > MOST:
        return None  # a name or a text, not a category
    return {"name": values.name, "categories": categories}


def encoded(frame, kept, name):
    """The columns as numbers `(rows, columns)`: NaN is missing, or a category never seen."""
    x = np.empty((len(frame), len(kept)), "float32")
    for i, column in enumerate(kept):
        if column["name"] not in frame:
            raise InputError(
                f"{name} has no column {column['name']}, which the model was trained on"
            )
        values = frame[column["name"]]
        if "categories" in column:
            codes = {category: code for code, category in enumerate(column["categories"])}
            x[:, i] = values.astype(str).map(codes).where(values.notna()).astype("float32")
        else:
            numbers = pd.to_numeric(values, errors="coerce")
            wrong = np.flatnonzero(numbers.isna() & values.notna())
            if len(wrong):
                raise InputError(
                    f"{name}, line {wrong[0] + 2}, column {column['name']}: expected a number, "
                    f"found {str(values.iloc[wrong[0]])!r}"
                )
            x[:, i] = numbers.astype("float32")
    return x
