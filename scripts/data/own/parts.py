"""parts: which part an example belongs to, by a hash of what it holds.

So the split is the same every time, on every machine and in any order of the files, stays as it is
when examples are added, and never puts two copies of one example into two parts.
"""

import hashlib

from scripts.training.command_line import InputError

MOST = 1000  # classes
PARTS = ("train", "validation", "test")


def part_of(content):
    """The part of an example with this content, bytes: 80 % training, 10 % each of the others."""
    tenth = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 10
    return "validation" if tenth == 8 else "test" if tenth == 9 else "train"


def check_parts(name, counts, remedy, like=None):
    """Raise an InputError unless each part has an example; for a trained model, only the test.

    Args:
        name: of the data, as --data has it.
        counts: `{part: examples}`.
        remedy: what the user can do.
    """
    wanted = PARTS if like is None else ("test",)
    empty = [part for part in wanted if not counts.get(part)]
    if empty:
        raise InputError(
            f"{name} has {sum(counts.values())} examples, and none of them is in the part "
            f"{' or '.join(empty)} (a hash of each decides: 8, 1 and 1 of 10): {remedy}"
        )


def classes_of(name, answers, like=None):
    """The classes among the answers, in order; those of `like` where the model is trained."""
    found = sorted(set(answers))
    if like is None:
        if not 2 <= len(found) <= MOST:
            raise InputError(
                f"{name} has {len(found)} classes ({', '.join(found[:5])}), expected 2 to {MOST}"
            )
        return found
    unknown = [answer for answer in found if answer not in like["classes"]]
    if unknown:
        raise InputError(
            f"{name}: the model knows no class {unknown[0]}, but {', '.join(like['classes'][:20])}"
        )
    return list(like["classes"])


def batches(x, y, batch_size, seed=None):
    """Batches of arrays, shuffled in each epoch where there is a `seed`."""
    import tensorflow as tf

    examples = tf.data.Dataset.from_tensor_slices((x, y))
    if seed is not None:
        examples = examples.shuffle(max(1, min(len(y), 50_000)), seed=seed)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def told(name, found):
    """What was found, in lines for the terminal."""
    lines = [f"data {name}"]
    for key, value in found.items():
        if isinstance(value, dict):
            pairs = [f"{k} {v}" for k, v in value.items()]
            more = f" and {len(pairs) - 20} more" if len(pairs) > 20 else ""
            value = ", ".join(pairs[:20]) + more
        lines.append(f"    {key}: {value}")
    return "\n".join(lines)
