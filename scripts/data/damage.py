"""damage: prepared data that can no longer be read are told by the name of their file.

TensorFlow says `corrupted record at 110503`, wherever the training is by then, and not in which
file. So the files of all data sets that this process has prepared are read again, until one fails.
"""

import contextlib

from scripts.training.command_line import InputError

PREPARED = []  # the builders of tfds that `prepare` returned


@contextlib.contextmanager
def told_by_file():
    """Inside, TensorFlow's errors become an InputError where a file of prepared data is damaged."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        import tensorflow as tf

        damage = first_damage() if isinstance(error, tf.errors.OpError) else None
        if damage is None:
            raise
        raise InputError(damage) from error


def remedy(folder):
    return f"remove the folder {folder}, and the data are prepared anew"


def first_damage():
    """What is wrong with the first file that is damaged, and what to do; None if all are whole."""
    import tensorflow as tf

    for builder in PREPARED:
        for split in builder.info.splits.values():
            for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
                try:
                    records = tf.data.TFRecordDataset(str(path))
                    found = int(records.reduce(tf.constant(0), lambda count, _: count + 1))
                    wrong = f"holds {found} records of {expected}"
                except tf.errors.OpError as error:
                    found, message = None, error.message.rpartition("}} ")[2]
                    wrong = f"is damaged ({message.partition(' [Op:')[0]})"
                if found != expected:
                    return f"{path} {wrong}: {remedy(builder.data_path)}"
    return None
