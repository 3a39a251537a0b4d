"""Tables are read back as they were written, and name where they come from."""

import keras
import pytest

from scripts.training import record


def test_csv_is_read_back(tmp_path):
    path = tmp_path / "new" / "table.csv"
    record.write_csv(path, ["a", "b"], [(1, "x, y"), (2.5, "")], ["one", "two: # 3"])
    assert path.read_bytes() == b'# one\n# two: # 3\na,b\n1,"x, y"\n2.5,\n'
    rows, comments = record.read_csv(path)
    assert rows == [{"a": "1", "b": "x, y"}, {"a": "2.5", "b": ""}]
    assert comments == ["one", "two: # 3"]


def test_a_row_is_added(tmp_path):
    path = tmp_path / "new" / "table.csv"
    for row in ((1, 2), (3, 4)):
        record.append_csv(path, ["a", "b"], row)
    assert path.read_text() == "a,b\n1,2\n3,4\n"


def test_markdown():
    assert record.markdown(["a", "b"], [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |"


@pytest.mark.parametrize(
    ("accelerators", "name"), [([], "cpu"), (["NVIDIA X 1", "NVIDIA Y"], "NVIDIA_X_1")]
)
def test_device(accelerators, name, monkeypatch):
    monkeypatch.setattr(record, "accelerators", lambda: accelerators)
    words = record.device().split(", ")
    assert words[: len(accelerators)] == accelerators
    assert words[-1].endswith(" cores")
    assert record.device_name() == name


def test_versions():
    assert record.versions()["keras"] == keras.__version__
