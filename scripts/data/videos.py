"""videos: any video-classification data set of tfds as three tf.data pipelines.

file -> (video, label) -> cached -> shuffled (training only) -> batched -> video / 255 -> prefetched
"""

import dataclasses

import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.images import pipelines, resized
from scripts.data.prepare import prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Videos:
    """Batches of videos `(B, T, H, W, C)` in [0, 1] with labels `(B,)`.

    shape: of one video. classes: their names.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    shape: tuple[int, int, int, int]
    classes: tuple[str, ...]


def load_videos(
    name, *, batch_size, seed, frames=None, size=None, data_dir=None, download_dir=None
):
    """The pipelines of a data set that has the features `video` and `label`.

    Args:
        name: of the tfds data set.
        batch_size: of all three parts.
        seed: of the order of the training part.
        frames: number of frames taken from each video, evenly spread; needed where their lengths
            differ.
        size: `(H, W)` that frames are scaled to; needed where their sizes differ.
        data_dir, download_dir: see `prepare`.
    """
    builder = prepare(name, data_dir, download_dir)
    features = builder.info.features
    if not {"video", "label"} <= set(features) or not isinstance(
        features["label"], tfds.features.ClassLabel
    ):
        raise InputError(f"data set {name} does not consist of videos with one class each")
    video, label = features["video"], features["label"]
    shape = (frames or video.shape[0], *(size or video.shape[1:3]), video.shape[3])
    if None in shape:
        raise InputError(f"data set {name} has videos of different sizes: its recipe must set one")

    def read(example):
        video = example["video"]
        if frames is not None:
            last = tf.cast(tf.shape(video)[0] - 1, tf.float32)
            video = tf.gather(video, tf.cast(tf.linspace(0.0, last, frames), tf.int32))
        return tf.ensure_shape(resized(video, size), shape), example["label"]

    return Videos(
        name=name,
        **pipelines(builder, read, batch_size, seed),
        shape=shape,
        classes=tuple(label.names),
    )
