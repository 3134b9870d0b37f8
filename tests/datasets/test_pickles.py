from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.pickle_arrays import PickleRefusal, load_arrays
from datasets.pickles import read_groundtruth
from datasets.store import StoreError

TRUTH = {
    "1/song.mmap": np.array([True, False, True]),
    "2/été.mmap": np.zeros(3, dtype=bool),
    "floats": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.array([1, 2], dtype=">i4"),
    "strided": np.arange(8.0)[::2],
    "empty": np.zeros((0, 3), dtype="u1"),
    "a number": np.array(2.5, dtype="f4"),
}
SHORT = {"a": np.array([True, False]), "b": np.zeros((2, 2), "f4")}


def write(folder: Path, content: bytes) -> Path:
    path = folder / "groundtruth.pk"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_come_back_as_they_were(tmp_path: Path, protocol: int) -> None:
    truth = read_groundtruth(write(tmp_path, pickle.dumps(TRUTH, protocol)))
    assert list(truth) == list(TRUTH)
    for key, array in TRUTH.items():
        assert truth[key].dtype == array.dtype
        assert np.array_equal(truth[key], array)
        assert truth[key].flags.writeable


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_array_that_stands_for_several_tracks_is_read(tmp_path: Path, protocol: int) -> None:
    array = np.array([True, False])
    content = pickletools.optimize(pickle.dumps({"a": array, "b": array}, protocol))
    assert {key: value.tolist() for key, value in read_groundtruth(write(tmp_path, content)).items()} == {
        "a": [True, False],
        "b": [True, False],
    }


@pytest.mark.parametrize("protocol", [2, 4])
def test_thousands_of_tracks_are_read(tmp_path: Path, protocol: int) -> None:
    truth = {f"{number}.mmap": np.array([number % 2 == 0]) for number in range(2500)}
    assert read_groundtruth(write(tmp_path, pickle.dumps(truth, protocol))) == truth


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
        (pickle.dumps({"a": {"b": 1}}), "a dict within a dict"),
        (pickle.dumps({"a": [1]}), "holds a list"),
        (pickle.dumps({"a": 1}, 0), "no pickle of protocol 2 to 5"),
        (pickle.dumps(np.ones(2)), "holds a numpy array"),
        (pickle.dumps("text"), "holds a str"),
        (pickle.dumps({"a": np.array([1 + 2j])}), "only truth values, integers and floats"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        read_groundtruth(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere\.pk: No such file"):
        read_groundtruth(tmp_path / "nowhere.pk")


def load(content: bytes) -> dict[str, np.ndarray]:
    return load_arrays(io.BytesIO(content), len(content))


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


ENCODE = (
    b"\x80\x02c_codecs\nencode\nq\x00X" + struct.pack("<I", 10_000) + b"a" * 10_000 + b"q\x01X\x06\0\0\0latin1q\x02"
)
ARRAY = b"\x80\x04cnumpy._core.numeric\n_frombuffer\n\x94cnumpy\ndtype\n" + text("u1") + b"\x85R\x94"
ATTACKS = {
    "nested tuples as a key": b"\x80\x04})" + b"\x85" * 500_000 + b"Ns.",
    "a key that doubles": b"\x80\x04})" + b"\x94h\x00h\x00\x86" * 60 + b"Ns.",
    "a place far out in memory": b"\x80\x02}r\xff\xff\xff\x06.",
    "a long frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "a long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40),
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 1),
    "a long array": b"\x80\x05\x96" + struct.pack("<Q", 2**40),
    "a long number": b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1),
    "open brackets": b"\x80\x02" + b"(" * 500_000 + b".",
    "waiting values": b"\x80\x02" + b"N" * 500_000 + b".",
    "waiting dictionaries": b"\x80\x02" + b"}" * 500_000 + b".",
    "bytes over and over": ENCODE + b"h\x00h\x01h\x02\x86Rq\x03" * 4_000 + b".",
    "an array over and over": (
        ARRAY + b"B" + struct.pack("<I", 10_000) + bytes(10_000) + b"\x94"
        + b"h\x00(h\x02h\x01M\x10\x27\x85" + text("C") + b"tR\x94" * 1 + b"h\x00(h\x02h\x01M\x10\x27\x85"
        + (text("C") + b"tR\x94h\x00(h\x02h\x01M\x10\x27\x85") * 4_000 + b"."
    ),
    "a huge shape": ARRAY + b"h\x00(C\x00h\x01K\x00" + b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x86" + text("C") + b"tR.",
    "a negative shape": ARRAY + b"h\x00(C\x01ah\x01J\xff\xff\xff\xff\x85" + text("C") + b"tR.",
    "a number as a type": ARRAY + b"h\x00(C\x01aNK\x01\x85" + text("C") + b"tR.",
    "a state of a text": pickle.dumps({"a": np.ones(2)}, 3).replace(b"s.", b"bs."),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_what_a_pickle_costs_is_bounded_by_its_file(name: str) -> None:
    content = ATTACKS[name]
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(PickleRefusal):
            load(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 40 * len(content)
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 10


OPCODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])
PARTS = st.sampled_from(
    [
        b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy._core.multiarray\n_reconstruct\n", b"c_codecs\nencode\n",
        b"cnumpy._core.numeric\n_frombuffer\n", text("b1"), text("latin1"), text("<"), b"K\x02", b"C\x02\x01\0",
        b"h\x01", b"}(", b"\x85R", b"tb", b"u.",
    ]
)  # fmt: skip


def check_read_or_refused(content: bytes) -> None:
    try:
        found = load(content)
    except PickleRefusal:
        return
    assert all(type(key) is str and type(array) is np.ndarray for key, array in found.items())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    check_read_or_refused(b"\x80\x04" + content)


@given(st.lists(OPCODES | PARTS | st.binary(max_size=4), max_size=60))
def test_any_instructions_are_read_or_refused(parts: list[bytes]) -> None:
    check_read_or_refused(b"\x80\x04}" + b"".join(parts) + b".")


@given(st.data(), st.sampled_from([2, 3, 4, 5]))
def test_any_damage_is_read_or_refused(data: st.DataObject, protocol: int) -> None:
    content = bytearray(pickle.dumps(SHORT, protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    check_read_or_refused(bytes(content[: data.draw(st.integers(0, len(content)))]))
    check_read_or_refused(bytes(content))
