"""folders: a folder of images a class, `folder:PATH`.

    PATH/CLASS/image     or     PATH/train/CLASS/image, and validation/ and test/

file -> decoded -> scaled to one size -> shuffled (training only) -> batched, in 0..255
"""

import collections
import pathlib

import numpy as np
import tensorflow as tf

from scripts.data.images import Images
from scripts.data.own.parts import PARTS, batches, check_parts, classes_of, part_of
from scripts.training.command_line import InputError

LEAST = 8  # rows and columns of an image


def load_folder(path, *, batch_size, seed, image_size=None, skip_broken=False, like=None):
    """The pipelines of a folder of images, in memory.

    Args:
        path: of the folder.
        batch_size: of all three parts.
        seed: of the order of the training part.
        image_size: `(H, W)` that images are scaled to; needed where they are of several sizes.
        skip_broken: leave out files that cannot be read, instead of an error.
        like: `classes` and `shape` of a trained model, for which all of this is a test.
    """
    name = f"folder:{path}"
    files = files_of(path)
    if like is None and len({label for _, label, _ in files}) < 2:
        raise InputError(
            f"{name}: expected two folders with files or more: put the images of each class into "
            "a folder with its name"
        )
    classes = classes_of(name, [label for _, label, _ in files], like)
    images, broken = {}, []
    for file, _, _ in files:
        try:
            images[file] = read(file)
        except InputError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
    channels = max(image.shape[-1] for image in images.values()) if images else 1
    sizes = collections.Counter(image.shape[:2] for image in images.values())
    if not images:
        raise InputError(f"{name} has no image that can be read: {broken[0]}")
    size = like["shape"][:2] if like else image_size
    channels = like["shape"][2] if like else channels
    if size is None and len(sizes) > 1:
        raise InputError(
            f"{name} has images of {len(sizes)} sizes, from {shown(min(sizes))} to "
            f"{shown(max(sizes))}: --image-size H W scales them to one"
        )
    height, width = size or next(iter(sizes))
    if min(height, width) < LEAST:
        raise InputError(
            f"{name}: images of {shown((height, width))} are too small for this model: "
            f"--image-size {LEAST} {LEAST}, or more"
        )
    content = {part: ([], []) for part in PARTS}
    for file, label, part in files:
        if file in images:
            part = "test" if like else part or part_of(file.read_bytes())
            content[part][0].append(scaled(images.pop(file), (height, width), channels))
            content[part][1].append(classes.index(label))
    counts = {part: len(labels) for part, (_, labels) in content.items()}
    check_parts(name, counts, "add images, or folders validation/ and test/ beside train/", like)
    none = np.zeros((0, height, width, channels), "float32")
    arrays = {p: (np.stack(x) if x else none, np.array(y, int)) for p, (x, y) in content.items()}
    train = arrays["train"][1]
    unseen = [classes[i] for i in range(len(classes)) if i not in train]
    if unseen and like is None:
        raise InputError(f"{name}: no image of class {unseen[0]} is in training: add some")
    every = np.concatenate([y for _, y in arrays.values()])
    found = {
        "examples": counts,
        "classes": {label: int((every == i).sum()) for i, label in enumerate(classes)},
        "sizes": {shown(key): count for key, count in sizes.most_common(5)},
        "used as": f"{shown((height, width))}, {'gray' if channels == 1 else 'color'}",
        "split": "by folder" if any(part for _, _, part in files) else "by hash of the file",
        "broken": len(broken),
    }
    return Images(
        name=name,
        **{p: batches(*arrays[p], batch_size, seed if p == "train" else None) for p in PARTS},
        shape=(height, width, channels),
        classes=tuple(classes),
        found=found,
    )


def files_of(path):
    """(file, class, part or None) of all files, in order; hidden ones are passed over."""
    path = pathlib.Path(path)
    if not path.is_dir():
        raise InputError(f"folder:{path}: there is no such folder")
    parts = [part for part in PARTS if (path / part).is_dir()]
    if parts and "train" not in parts:
        raise InputError(f"folder:{path} has {', '.join(parts)} but no folder train")
    roots = [(path / part, part) for part in parts] if parts else [(path, None)]
    if parts:
        # What is missing is cut off the training part, by hash.
        roots = [
            (root, part if part != "train" or len(parts) == 3 else None) for root, part in roots
        ]
    return [
        (file, folder.name, part)
        for root, part in roots
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".")
    ]


def read(file):
    """The image in a file, `(H, W, C)` in bytes, gray or color."""
    try:
        image = tf.io.decode_image(file.read_bytes(), expand_animations=False).numpy()
    except (tf.errors.OpError, OSError) as error:
        raise InputError(
            f"{file} is no image that TensorFlow reads (JPEG, PNG, GIF, BMP), or is broken: mend "
            "or remove it, or --skip-broken leaves such files out"
        ) from error
    return image[..., :3] if image.shape[-1] in (3, 4) else image[..., :1]  # without transparency


def scaled(image, size, channels):
    """An image in bytes as `(*size, channels)` float32 in 0..255."""
    if image.shape[-1] != channels:
        image = np.repeat(image, channels, -1)
    if image.shape[:2] != tuple(size):
        image = tf.image.resize(image, size, antialias=True).numpy()
    return np.round(image).astype("float32")


def shown(size):
    return f"{size[0]} x {size[1]}"
