"""pipelines: the way of images, with whatever belongs to them, from tfds to the model.

file -> read -> cached -> shuffled (training only) -> batched -> image / 255 -> ahead
"""

import tensorflow as tf


def parts(splits):
    """What to read as training, validation and test, given the names of the splits there are.

    What is missing is cut off the end of the training split, a tenth each.
    """
    train, validation, test = "train", "validation", "test"
    if "test" not in splits and "validation" not in splits:
        return "train[:80%]", "train[80%:90%]", "train[90%:]"
    if "validation" not in splits:
        train, validation = "train[:90%]", "train[90%:]"
    if "test" not in splits:
        train, test = "train[:90%]", "train[90%:]"
    return train, validation, test


def pipelines(builder, read, batch_size, seed):
    """The batches of each part: `{"train": ..., "validation": ..., "test": ...}`.

    Args:
        builder: of tfds, prepared.
        read: `(example) -> (image, ...)`, of one example; the image (or video) in bytes.
        batch_size: of all three parts.
        seed: of the order of the training part.
    """

    def scaled(images, *others):
        return tf.cast(images, tf.float32) / 255, *others

    def pipeline(part, split):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        examples = examples.map(read, tf.data.AUTOTUNE).cache()
        if part == "train":
            count = builder.info.splits[split].num_examples
            examples = examples.shuffle(min(count, 10_000), seed=seed)
        return examples.batch(batch_size).map(scaled).prefetch(tf.data.AUTOTUNE)

    splits = zip(("train", "validation", "test"), parts(builder.info.splits), strict=True)
    return {part: pipeline(part, split) for part, split in splits}
