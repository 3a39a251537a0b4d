"""texts: a folder of text files a class, or a CSV or TSV file with texts, `texts:PATH`."""

import pathlib

import keras
import numpy as np

from scripts.data.own.folders import files_of
from scripts.data.own.frames import columns, read_frame
from scripts.data.own.parts import PARTS, batches, check_parts, classes_of, part_of
from scripts.data.texts import Texts
from scripts.training.command_line import InputError


def load_own_texts(path, *, batch_size, seed, label=None, vocabulary=20_000, length=64, like=None):
    """The pipelines of texts with a class each, and their words.

    Args:
        path: of the folder, `PATH/CLASS/file.txt`, or of the file.
        batch_size: of all three parts.
        seed: of the order of the training part.
        label: of a file, the column of the class.
        vocabulary: at most so many words are known, the most frequent ones of the training part.
        length: of a text in words; what is longer is cut off.
        like: `classes` of a trained model, for which all of this is a test.
    """
    path, name = pathlib.Path(path), f"texts:{path}"
    rows = of_folder(path) if path.is_dir() else of_file(path, label)
    classes = classes_of(name, [answer for _, answer, _ in rows], like)
    content = {part: ([], []) for part in PARTS}
    for text, answer, part in rows:
        part = "test" if like else part or part_of(text.encode())
        content[part][0].append(text)
        content[part][1].append(classes.index(answer))
    counts = {part: len(labels) for part, (_, labels) in content.items()}
    check_parts(name, counts, "add texts", like)
    arrays = {p: (np.array(x, dtype=object), np.array(y, int)) for p, (x, y) in content.items()}
    vectorizer = keras.layers.TextVectorization(
        max_tokens=vocabulary, output_sequence_length=length, name="words"
    )
    vectorizer.adapt(content["train"][0] or [text for text, _, _ in rows])
    lengths = [len(text.split()) for text, _, _ in rows]
    return Texts(
        name=name,
        **{p: batches(*arrays[p], batch_size, seed if p == "train" else None) for p in PARTS},
        vectorizer=vectorizer,
        classes=tuple(classes),
        found={
            "examples": counts,
            "classes": {c: sum(a == c for _, a, _ in rows) for c in classes},
            "words of a text": f"{min(lengths)} to {max(lengths)}, the first {length} are read",
            "words known": len(vectorizer.get_vocabulary()) - 2,
            "split": "by folder" if any(part for _, _, part in rows) else "by hash of the text",
        },
    )


def of_folder(path):
    """(text, class, part or None) of each file."""
    rows = []
    for file, label, part in files_of(path):
        try:
            rows.append((file.read_text(encoding="utf-8"), label, part))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{file} is no text in UTF-8 ({error}): convert or remove it"
            ) from error
    return rows


def of_file(path, label):
    """(text, class, None) of each row; the text is the other column, or the one called `text`."""
    frame = read_frame(path)
    if label is None or label not in frame:
        wrong = f"has no column {label}" if label else "needs --label"
        raise InputError(f"texts:{path} {wrong}: --label is one of {columns(frame)}")
    others = [key for key in frame if key != label]
    text = "text" if "text" in others else others[0] if len(others) == 1 else None
    if text is None:
        raise InputError(
            f"texts:{path}: which column is the text? Call it `text`: {columns(frame)}"
        )
    empty = np.flatnonzero(frame[[text, label]].isna().any(axis=1))
    if len(empty):
        raise InputError(
            f"texts:{path}, line {empty[0] + 2}: {text} or {label} is empty: remove it"
        )
    return [(str(t), str(a), None) for t, a in zip(frame[text], frame[label], strict=True)]
