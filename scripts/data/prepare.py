"""prepare: a tfds builder whose data are on disk, or an error that says at once what is missing.

tfds waits more than three minutes for a host that does not answer. Here the first file to be
downloaded is requested once. A file in the download folder, or in its subfolder
`manual`, needs no network; the download folder may be read-only then.

When prepared data can no longer be read, TensorFlow says `corrupted record at 110503` in the middle
of training, but not in which file. So the files of all data sets that this process has prepared are
read again until one fails, and the error names it.
"""

import contextlib
import difflib
import importlib
import pathlib
import re
import tempfile
import threading

import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format
from tensorflow_datasets.core.download import download_manager

from scripts.training.command_line import InputError, MissingData
from scripts.training.untrusted import check_download

# What TensorFlow says of a disk without room, or of a file that may not grow.
FULL = re.compile("No space left|File too large|Disk quota|Read-only file system")
SECONDS = 5  # to wait for a host's first answer
PREPARED = []  # the builders that `prepare` returned


def reachable(url):
    """Whether the download of `url` can begin, known within SECONDS."""
    if not url.startswith("http"):
        return True
    good = []

    def ask():
        with (
            contextlib.suppress(requests.RequestException),
            requests.get(url, stream=True, timeout=SECONDS) as answer,
        ):
            good.append(answer.ok)

    # A thread, because looking up a host's name has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return any(good)


@contextlib.contextmanager
def downloads_that_begin(name, download_dir):
    """Inside, tfds downloads only what is reachable, and raises MissingData for anything else.

    An archive is checked before it is unpacked, since tfds trusts one that it finds by its name.
    """
    manager_class = download_manager.DownloadManager
    original, original_extract = manager_class._download, manager_class._extract

    def download(manager, resource):
        if not reachable(resource.url):
            raise MissingData(
                f"data set {name}: {resource.url} cannot be reached, and {download_dir} does not "
                "hold it (--download-dir and --data-dir name other folders)"
            )
        return original(manager, resource)

    def extract(manager, resource):
        check_download(pathlib.Path(getattr(resource, "path", resource)))
        return original_extract(manager, resource)

    manager_class._download, manager_class._extract = download, extract
    try:
        yield
    finally:
        manager_class._download, manager_class._extract = original, original_extract


def prepare(name, data_dir=None, download_dir=None):
    """The builder of a tfds data set, prepared.

    Args:
        name: of the data set, such as `mnist` or `cmaterdb/bangla`.
        data_dir: of the prepared data; `~/tensorflow_datasets` where it is None.
        download_dir: of the files as downloaded; `<data_dir>/downloads` where it is None.

    Raises:
        InputError: tfds does not know the data set, or cannot write or read it.
        MissingData: it would have to be downloaded and cannot be.
    """
    given = download_dir is not None
    own = name.partition("/")[0]
    if own.isidentifier() and (pathlib.Path(__file__).parent / "builders" / own).is_dir():
        # tfds knows the builders of this project once they are imported.
        importlib.import_module(f"scripts.data.builders.{own}.{own}_dataset_builder")
    try:
        # Without the code of its builder, tfds would import whatever classes a file beside the
        # data names.
        name, _, version = name.partition(":")
        kind = tfds.builder_cls(own.partition(":")[0])
        if version:  # of another one, tfds would read files and import what they name
            there = [str(kind.VERSION), *map(str, kind.SUPPORTED_VERSIONS or ())]
            if version not in there:
                raise InputError(
                    f"data set {name}: there is no version {version}, but {', '.join(there)}"
                )
            name = f"{name}:{version}"
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        near = difflib.get_close_matches(own, tfds.list_builders(), 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "not found"
        raise InputError(f"data set {name}: {hint}") from error
    except ValueError as error:
        raise InputError(f"data set {name}: {str(error).splitlines()[0]}") from error
    except json_format.ParseError as error:
        folder = pathlib.Path(data_dir or "~/tensorflow_datasets") / own
        raise InputError(
            f"data set {name}: its dataset_info.json is damaged: {remedy(folder)}"
        ) from error
    download_dir = pathlib.Path(download_dir or pathlib.Path(builder.data_dir_root) / "downloads")
    if given and not download_dir.is_dir():
        raise InputError(f"--download-dir: there is no folder {download_dir}")
    try:
        # Archives are unpacked elsewhere, so the download folder may be read-only.
        with (
            tempfile.TemporaryDirectory() as unpacked,
            downloads_that_begin(name, download_dir),
        ):
            builder.download_and_prepare(
                download_dir=download_dir,
                download_config=tfds.download.DownloadConfig(
                    extract_dir=unpacked,
                    manual_dir=None if (download_dir / "manual").is_dir() else download_dir,
                    try_download_gcs=False,
                ),
            )
    except InputError:
        raise
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise MissingData(f"data set {name}: {error}") from error
    except (OSError, tf.errors.OpError, RuntimeError) as error:
        # On a full disk TensorFlow raises the one, and tfds another, which names it.
        if not isinstance(error, OSError) and not FULL.search(str(error)):
            raise
        raise InputError(
            f"data set {name}: cannot write to {builder.data_dir_root} ({error}): --data-dir names "
            "another folder"
        ) from error
    if not builder.info.splits:
        raise InputError(f"data set {name}: no dataset_info.json: {remedy(builder.data_path)}")
    PREPARED.append(builder)
    return builder


def parts(splits):
    """What to read as training, validation and test, given the names of the splits.

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


@contextlib.contextmanager
def damaged_files_named():
    """Turn TensorFlow's errors into an InputError where a file of prepared data is damaged."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        damage = first_damage() if isinstance(error, tf.errors.OpError) else None
        if damage is None:
            raise
        raise InputError(damage) from error


def remedy(folder):
    return f"remove the folder {folder}, and the data are prepared again"


def first_damage():
    """What is wrong with the first damaged file, and what to do; None if all are whole."""
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
