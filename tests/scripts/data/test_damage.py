"""Prepared data that are damaged: the error names the file and what to do, whenever it is found."""

import pathlib
import re
import shutil

import pytest
import tensorflow as tf

from scripts import evaluate, train
from scripts.data import prepare as prepare_module
from scripts.data.prepare import damaged_files_named, prepare
from scripts.training import run_folder
from scripts.training.command_line import InputError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of prepared data, and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = ["digits-mlp", "--epochs", "1", "--data-dir", str(folder / "data")]
    train.main([*arguments, "--output", str(folder / "run")])
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the folder with the prepared data."""
    prepare_module.PREPARED.clear()
    shutil.copytree(whole / "data", tmp_path / "data")
    return tmp_path / "data" / "digits" / "1.0.0"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_a_length(path):
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def stop_after_some(path):
    """At the end of a record, where TensorFlow sees nothing wrong with the file."""
    content = path.read_bytes()
    path.write_bytes(content[: 16 + int.from_bytes(content[:8], "little")])


@pytest.mark.parametrize(
    ("part", "spoil", "wrong"),
    [
        ("train", truncate, r"is damaged \(truncated record at \d+"),
        ("train", flip_a_bit, r"is damaged \(corrupted record at \d+\)"),
        ("train", flip_a_length, r"is damaged \(corrupted record at 0"),
        ("train", empty, r"holds 0 records of 1259"),
        ("train", stop_after_some, r"holds 1 records of 1259"),
        ("train", pathlib.Path.unlink, r"is damaged \(.*No such file or directory\)"),
        ("validation", flip_a_bit, r"is damaged \(corrupted record at \d+\)"),
        ("test", truncate, r"is damaged \(truncated record at \d+"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_ends_a_training_in_one_line(part, spoil, wrong, copy, tmp_path, capsys):
    """Validation is first read at the end of the first epoch, the test part after the last."""
    path = copy / f"digits-{part}.tfrecord-00000-of-00001"
    spoil(path)
    arguments = ["digits-mlp", "--epochs", "2", "--data-dir", str(tmp_path / "data")]
    with pytest.raises(SystemExit, match="2"):
        train.main([*arguments, "--output", str(tmp_path / "run")])
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines)
    remedy = f"remove the folder {copy}, and the data are prepared again"
    assert re.fullmatch(f"error: {re.escape(str(path))} {wrong}.*: {re.escape(remedy)}", lines[-1])
    assert not (tmp_path / "run").exists()
    shutil.rmtree(copy)  # as it says
    again = "--resume" if run_folder.unfinished(tmp_path / "run").exists() else "--output"
    if part != "train":
        train.main([*arguments, again, str(tmp_path / "run")])
        assert (tmp_path / "run" / "model.keras").exists()


def test_damage_that_an_evaluation_finds(copy, whole, tmp_path, capsys):
    path = copy / "digits-test.tfrecord-00000-of-00001"
    flip_a_bit(path)
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(whole / "run"), "--data-dir", str(tmp_path / "data")])
    assert f"error: {path} is damaged (corrupted record at" in capsys.readouterr().err


def test_a_damaged_description(copy, tmp_path):
    (copy / "dataset_info.json").write_text("{")
    remedy = f"dataset_info.json is damaged: remove the folder {copy.parent}, and the data are"
    with pytest.raises(InputError, match=remedy):
        prepare("digits", str(tmp_path / "data"))
    (copy / "dataset_info.json").unlink()
    with pytest.raises(InputError, match=f"no dataset_info.json: remove the folder {copy}, and"):
        prepare("digits", str(tmp_path / "data"))


def test_other_errors_stay_what_they_are(copy, tmp_path):
    prepare("digits", str(tmp_path / "data"))
    with pytest.raises(tf.errors.InvalidArgumentError), damaged_files_named():
        tf.reshape(tf.zeros(3), (2, 2))
    with pytest.raises(ZeroDivisionError), damaged_files_named():
        _ = 1 / 0
