"""Pictures of runs on texts, series and sounds, as matplotlib figures."""

import numpy as np
from matplotlib.figure import Figure


def surprise(model, data, lines=20, columns=80):
    """The beginning of the test text; the darker a character's ground, the less it was foreseen."""
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
    return picture


def translations(sources, ours, references, title):
    """Some translations beside their references, and the share that is exact by length."""
    picture = Figure(figsize=(12, 7), layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(2, 1))
    picture.suptitle(title)
    exact = np.array([a == b for a, b in zip(ours, references, strict=True)])
    # As many wrong ones as right ones, where there are: they tell more.
    chosen = [*np.flatnonzero(~exact)[:6], *np.flatnonzero(exact)[:6]][:12]
    for row, i in enumerate(chosen):
        for line, (name, text) in enumerate(
            [("source", sources[i]), ("ours", ours[i]), ("right", references[i])]
        ):
            color = "black" if line != 1 else "tab:green" if exact[i] else "tab:red"
            left.text(
                0, -row - line * 0.27, f"{name:7}{text[:90]}", family="monospace", fontsize=8,
                color=color, va="top", parse_math=False,
            )  # fmt: skip
    left.set(xlim=(0, 1), ylim=(-len(chosen), 0))
    left.axis("off")
    lengths = np.array([len(text) for text in references])
    distinct = np.unique(lengths)
    groups = np.array_split(distinct, min(8, len(distinct)))
    shares = [exact[np.isin(lengths, group)].mean() for group in groups]
    names = [str(g[0]) if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups]
    right.bar(names, shares)
    right.tick_params("x", rotation=45)
    right.set(xlabel="characters of the reference", ylabel="share translated exactly", ylim=(0, 1))
    return picture


def forecast(data, ours, naive, seasonal, shown=250):
    """Forecasts beside the truth, and the mean absolute error by how far they look ahead."""
    ahead = np.arange(data.horizon)
    truth = data.values[data.begins[:, None] + ahead]
    picture = Figure(figsize=(14, 7), layout="constrained")
    picture.suptitle(f"{data.name}, test")
    top, bottom = picture.subplots(2, 1)
    begins = data.begins[:shown]
    top.plot(begins, data.values[begins], color="black", lw=1, label="truth")
    for step, color in ((0, "tab:green"), (data.horizon - 1, "tab:red")):
        name = f"ours, {step + 1} ahead"
        top.plot(begins + step, ours[:shown, step], color=color, lw=1, label=name)
    top.set(xlabel="time", ylabel="value")
    for name, values in (("ours", ours), ("naive", naive), ("seasonal naive", seasonal)):
        bottom.plot(ahead + 1, np.abs(values - truth).mean(0), "o-", ms=3, label=name)
    bottom.set(xlabel="steps ahead", ylabel="mean absolute error", ylim=(0, None))
    for axes, place in ((top, "upper right"), (bottom, "best")):
        axes.grid(alpha=0.3)
        axes.legend(loc=place)
    return picture


def signals(data):
    """One signal of each class, as it comes and, for sounds, its spectrum over time."""
    found = {}
    for x, labels in data.test.as_numpy_iterator():
        for signal, label in zip(x, labels, strict=True):
            found.setdefault(int(label), signal)
    picture = Figure(figsize=(14, 1.5 + 1.3 * -(-len(found) // 4)), layout="constrained")
    picture.suptitle(f"{data.name}, test: one of each class")
    for place, (label, signal) in enumerate(sorted(found.items()), 1):
        axes = picture.add_subplot(-(-len(found) // 4), 4, place)
        if signal.ndim == 1:
            axes.specgram(signal + 1e-9, NFFT=256, Fs=data.rate, noverlap=128)
        else:
            axes.plot(signal, lw=1)
        axes.set_title(data.classes[label], fontsize=9)
        axes.tick_params(labelsize=6)
    return picture
