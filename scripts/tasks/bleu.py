"""BLEU: how many of a translation's n-grams stand in the reference too.

    BLEU = min(1, exp(1 - r/c)) (p₁ p₂ p₃ p₄)^(1/4)

pₙ is the share of the translations' n-grams found in their references, each of those counting once;
c and r are the lengths of all translations and of all references.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002.
"""

import collections
import math


def grams(symbols, n):
    """How often each run of n symbols occurs."""
    return collections.Counter(zip(*(symbols[i:] for i in range(n)), strict=False))


def bleu(translations, references, n=4):
    """BLEU of a corpus, from 0 to 1, with one reference a sentence and no smoothing.

    Args:
        translations, references: sequences of symbols, one a sentence.
        n: the longest n-grams.

    Lengths at which there is no n-gram at all, in corpora of shorter sentences, are left out.
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
