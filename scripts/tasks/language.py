"""language: which character comes next, in nats a character."""

import json

import numpy as np
from matplotlib.figure import Figure


def baseline(data):
    """Each character is predicted by how often it occurs in training."""

    def counts(part):
        sizes = {"minlength": len(data.characters) + 1}
        return sum(np.bincount(y.ravel(), **sizes) for _, y in part.as_numpy_iterator())

    frequencies = counts(data.train) + 1.0  # what never occurs is not impossible
    seen = counts(data.test)
    nats = -(seen * np.log(frequencies / frequencies.sum())).sum() / seen.sum()
    return "unigram", float(nats)


def files(data):
    return {"vocabulary.json": json.dumps(list(data.characters)) + "\n"}


def pictures(model, data, lines=20, columns=80):
    """The beginning of the test text; the darker its background, the less likely a character."""
    x, y = (
        np.concatenate(part) for part in zip(*data.test.take(1).as_numpy_iterator(), strict=True)
    )
    given = model.predict(x, verbose=0)
    nats = -np.log(np.take_along_axis(given, y[..., None], -1)[..., 0]).ravel()
    text = "".join(("\N{REPLACEMENT CHARACTER}" + data.characters)[i] for i in y.ravel())
    picture = Figure(figsize=(12, 5.5), layout="constrained")
    axes = picture.subplots()
    shades = np.full((lines, columns), np.nan)
    row = column = 0
    for character, value in zip(text, nats, strict=True):
        if column == columns:
            row, column = row + 1, 0
        if row == lines:
            break
        shades[row, column] = value
        shown = "\N{RETURN SYMBOL}" if character == "\n" else character
        color = "white" if value > 3.5 else "black"
        axes.text(
            column, row, shown.replace("$", r"\$"), family="monospace", ha="center", va="center",
            color=color, fontsize=9,
        )  # fmt: skip
        row, column = (row + 1, 0) if character == "\n" else (row, column + 1)
    image = axes.imshow(shades, cmap="Blues", vmin=0, vmax=6, aspect="auto")
    axes.set(title=f"{data.name}, test: how surprising each character was", xticks=[], yticks=[])
    picture.colorbar(image, label="nats")
    return {"surprise.png": picture}
