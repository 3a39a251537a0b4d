"""translation: how close translations come to their references.

    BLEU = min(1, exp(1 - r/c)) (p₁ p₂ p₃ p₄)^(1/4)

pₙ is the share of the translations' n-grams found in their references, each of those counting once;
c and r are the lengths of all translations and of all references.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002.
"""

import collections
import json
import math

import numpy as np
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import TfidfVectorizer

from models.seq2seq import decoder, encoder, translate

BEAMS = 4
UNKNOWN = 1  # id of any symbol that the vocabulary lacks


def grams(symbols, n):
    """How often each run of n symbols occurs."""
    return collections.Counter(zip(*(symbols[i:] for i in range(n)), strict=False))


def bleu(translations, references, n=4):
    """BLEU of a corpus, from 0 to 1, with one reference a sentence and no smoothing.

    Args:
        translations, references: sequences of symbols, one a sentence.
        n: the longest n-grams.

    Lengths n that no sentence reaches are left out.
    """
    found, total = [0] * n, [0] * n
    for translation, reference in zip(translations, references, strict=True):
        for i in range(n):
            ours = grams(translation, i + 1)
            found[i] += (ours & grams(reference, i + 1)).total()
            total[i] += ours.total()
    pairs = [(f, t) for f, t in zip(found, total, strict=True) if t]
    if not pairs or min(found for found, _ in pairs) == 0:
        return 0.0
    precision = math.exp(sum(math.log(f / t) for f, t in pairs) / len(pairs))
    short = 1 - sum(map(len, references)) / sum(map(len, translations))
    return precision * math.exp(min(0, short))


def symbols(ids, vocabulary):
    """The symbols of each row of ids, without padding."""
    return [[vocabulary[i] for i in row if i > 0] for row in ids]


def decode(model, sources, start, end, length, beams):
    """Translations of batches of source ids, as one list of rows of ids."""
    parts = encoder(model), decoder(model)
    options = {"start": start, "end": end, "length": length, "beams": beams}
    longest = max(source.shape[1] for source in sources)
    rows = []
    for source in sources:  # all of one length, since each new length would be traced again
        source = np.pad(source, [(0, 0), (0, longest - source.shape[1])])
        rows.extend(translate(*parts, source, **options))
    return rows


def measure(model, data):
    """BLEU and the share of exact translations of the test part, by beam search and greedy."""
    sources, references = read(data.test, data)
    figures = {}
    for suffix, beams in (("", BEAMS), ("_greedy", 1)):
        ids = decode(model, sources, data.start, data.end, data.length, beams)
        ours = symbols(ids, data.target)
        exact = [a == b for a, b in zip(ours, references, strict=True)]
        figures[f"bleu{suffix}"] = bleu(ours, references)
        figures[f"exact{suffix}"] = float(np.mean(exact))
    return figures


def read(part, data):
    """Source ids by batch, and all targets as symbols."""
    batches = list(part.as_numpy_iterator())
    references = [
        row for _, y in batches for row in symbols(np.where(y == data.end, 0, y), data.target)
    ]
    return [source for (source, _), _ in batches], references


def memory(data):
    """BLEU and share of exact translations of a rival: the translation of the most similar source
    in the training part, the one that shares the most runs of one to three symbols."""

    def runs_of_symbols(row):
        row = [int(i) for i in row if i > 0]
        return [gram for n in (1, 2, 3) for gram in grams(row, n).elements()]

    sources, targets = read(data.train, data)
    known = TfidfVectorizer(analyzer=runs_of_symbols)
    matrix = known.fit_transform([row for batch in sources for row in batch])
    batches, references = read(data.test, data)
    ours = []
    for batch in batches:
        nearest = np.asarray((known.transform(batch) @ matrix.T).argmax(axis=1)).ravel()
        ours += [targets[i] for i in nearest]
    exact = [a == b for a, b in zip(ours, references, strict=True)]
    return {"bleu": bleu(ours, references), "exact": float(np.mean(exact))}


def baseline(figure, data):
    return "most similar source", memory(data)[figure]


def join(pieces, kind):
    """Symbols as text: words with spaces between them, characters without."""
    return (" " if kind == "word" else "").join(pieces)


def files(data):
    content = {key: getattr(data, key) for key in ("source", "target", "symbols", "length")}
    return {"vocabulary.json": json.dumps(content) + "\n"}


def pictures(model, data):
    """Some translations beside their references, and the share of exact ones by length."""
    sources, references = read(data.test.take(8), data)
    ours = symbols(decode(model, sources, data.start, data.end, data.length, BEAMS), data.target)
    sources = [join(row, data.symbols[0]) for x in sources for row in symbols(x, data.source)]
    ours, references = ([join(row, data.symbols[1]) for row in rows] for rows in (ours, references))
    picture = Figure(figsize=(12, 7), layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(2, 1))
    picture.suptitle(f"{data.name}, test")
    exact = np.array([a == b for a, b in zip(ours, references, strict=True)])
    # As many wrong ones as right ones where possible: they tell more.
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
    bars = right.bar(names, shares)
    counts = [np.isin(lengths, group).sum() for group in groups]
    right.bar_label(bars, [f"n={count}" for count in counts], fontsize=7)
    right.tick_params("x", rotation=45)
    right.set(
        xlabel="characters of the reference", ylabel="share translated exactly", ylim=(0, 1.05)
    )
    return {"translations.png": picture}
