from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets.pickles import read_groundtruth
from datasets.store import StoreError

TRUTH = {
    "1/song.mmap": np.array([True, False, True]),
    "2/été.mmap": np.zeros(3, dtype=bool),
    "floats": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.array([1, 2], dtype=">i4"),
}


def write(folder: Path, content: bytes) -> Path:
    path = folder / "groundtruth.pk"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_come_back_as_they_were(tmp_path: Path, protocol: int) -> None:
    truth = read_groundtruth(write(tmp_path, pickle.dumps(TRUTH, protocol)))
    assert list(truth) == list(TRUTH)
    for key, array in TRUTH.items():
        assert truth[key].dtype == array.dtype
        assert np.array_equal(truth[key], array)
        assert truth[key].flags.writeable


def test_files_of_numpy_1_are_read(tmp_path: Path) -> None:
    new = pickle.dumps({"a": np.array([True, False])}, protocol=3)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    assert read_groundtruth(write(tmp_path, old))["a"].tolist() == [True, False]


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("place", ["top", "value", "inside an array"])
def test_f18_nothing_a_pickle_asks_for_is_run(tmp_path: Path, place: str) -> None:
    attack = Attack(tmp_path / "was-run")
    content = {"top": attack, "value": {"a": attack}, "inside an array": {"a": np.array([attack, 1], dtype=object)}}
    with pytest.raises(StoreError, match=r"groundtruth.pk was not read"):
        read_groundtruth(write(tmp_path, pickle.dumps(content[place], 4)))
    assert not attack.marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "was not read"),
        (b"a,b\n1,2\n", "was not read"),
        (pickle.dumps(TRUTH)[:-20], "was not read"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps({1: np.ones(2)}, 4), "the key 1 is not a text"),
        (pickle.dumps({"a": "b"}), "'a' is a str"),
        (pickle.dumps({"a": np.array(["b"])}, 4), "only truth values, integers and floats"),
        (pickle.dumps({"a": Path("b")}), "asks for pathlib"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        read_groundtruth(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere\.pk: No such file"):
        read_groundtruth(tmp_path / "nowhere.pk")
