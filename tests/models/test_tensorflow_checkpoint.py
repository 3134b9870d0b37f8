"""The reader of TensorFlow checkpoints, on checkpoints that these tests write, and on damaged and hostile ones."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import CheckpointError
from models.tensorflow_checkpoint import checksum, read_index, read_tensors
from tests.models.tensorflow_files import HEADER, block, checkpoint, entry, field, table, varint

GENERATOR = np.random.default_rng(0)
TENSORS = {
    **{f"layer_{number}/kernel": GENERATOR.normal(size=(number + 1, 3)).astype(np.float32) for number in range(12)},
    "scalar": np.float32(3.0).reshape(()),
    "empty": np.zeros((0, 5), np.float32),
    "half": GENERATOR.normal(size=7).astype(np.float16),
    "double": GENERATOR.normal(size=(2, 2)),
    "whole": np.arange(6, dtype=np.int64).reshape(2, 3),
    "short": np.arange(4, dtype=np.int32),
}
INDEX, DATA = checkpoint(TENSORS)


def of(pairs: dict[bytes, bytes]) -> bytes:
    """An index with a header and these entries."""
    return table({b"": HEADER, **pairs})


def test_the_checksum_is_castagnolis_masked_as_leveldb_does():
    # 123456789 is the check value of the catalogues of checksums
    assert checksum(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_every_tensor_is_read_as_it_was_written():
    found = read_tensors(INDEX, DATA, "ours")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)


def test_only_what_is_wanted_is_read():
    assert list(read_tensors(INDEX, DATA, "ours", lambda name: name == "half")) == ["half"]


def test_the_index_tells_names_and_shapes():
    assert {name: one.shape for name, one in read_index(INDEX, "ours").items()} == {
        name: tensor.shape for name, tensor in TENSORS.items()
    }


HUGE = 2**62
BAD = {
    "not an index": (b"hello", "is not the index of a TensorFlow checkpoint"),
    "cut": (INDEX[:-1], "or its end is missing"),
    "no header": (table({b"a": entry((1,), 0, 4)}), "has no header"),
    "two pieces": (table({b"": field(1, 2)}), "in several pieces, or big-endian"),
    "big-endian": (table({b"": field(1, 1) + field(2, 1)}), "in several pieces, or big-endian"),
    "a slice": (of({b"a": entry((1,), 0, 4) + field(7, b"")}), "'a' is stored in several pieces"),
    "another piece": (of({b"a": field(3, 7)}), "'a' is stored in several pieces"),
    "huge shape": (of({b"a": entry((HUGE, HUGE), 0, 4)}), r"a has the shape \[4611686018427387904, 46"),
    "huge beside nothing": (of({b"a": entry((0, 2**63), 0, 0, crc=checksum(b""))}), "impossible shape"),
    "huge size": (of({b"a": entry((1,), 0, HUGE)}), "do not belong together"),
    "huge offset": (of({b"a": entry((1,), HUGE, 4)}), "do not belong together"),
    "behind the end": (of({b"a": entry((1,), len(DATA) - 3, 4)}), "do not belong together"),
    "very many dimensions": (of({b"a": field(2, field(2, b"") * 10_000)}), "'a' is a message of 20,00"),
    "many dimensions": (of({b"a": entry((1,) * 9, 0, 4)}), "'a' has 9 dimensions, expected 8 at most"),
    "text": (of({b"a": entry((1,), 0, 4, kind=7)}), "a is of TensorFlow's type 7, expected numbers"),
    "another checksum": (of({b"a": entry((1,), 0, 4, crc=1)}), "a has another checksum"),
    "no name": (of({b"\xff": entry((1,), 0, 4)}), "is no name"),
    "shape is a number": (of({b"a": field(2, 3)}), "'a' has no readable shape"),
    "half a field": (of({b"a": b"\x12\x7fx"}), "'a' ends within a field"),
    "a group": (of({b"a": b"\x0b"}), "'a' holds a field of an unknown kind"),
    "endless number": (of({b"a": b"\xff" * 20}), "more than 64 bits"),
    "long name": (of({b"a" * 2000: entry((1,), 0, 4)}), "reaches out of its block"),
    "place as text": (of({b"a": field(1, 1) + field(4, b"x") + field(5, 4)}), "its field 4 is no number"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case):
    index, message = BAD[case]
    with pytest.raises(CheckpointError, match=rf"musicnn\.whl.*{message}"):
        read_tensors(index, DATA, "musicnn.whl")


def footer(meta: tuple[int, int], place: tuple[int, int]) -> bytes:
    handles = b"".join(varint(number) for number in (*meta, *place))
    return handles.ljust(40, b"\0") + INDEX[-8:]


@pytest.mark.parametrize("place", [(0, HUGE), (HUGE, 8), (0, 3), (len(INDEX) - 60, 40)])
def test_blocks_that_are_not_in_the_file(place):
    with pytest.raises(CheckpointError, match="is not in the file"):
        read_index(INDEX[:-48] + footer((0, 0), place), "ours")


def with_blocks(places: list[tuple[int, int]], body: bytes) -> bytes:
    """One block of entries, and an index of blocks that names whatever it likes."""
    stored = lambda body: body + b"\0" + struct.pack("<I", checksum(body + b"\0"))  # noqa: E731
    names = block([(bytes([number]), varint(at) + varint(size)) for number, (at, size) in enumerate(places)])
    content = stored(body)
    return content + stored(names) + footer((0, 0), (len(content), len(names)))


@pytest.mark.parametrize("places", [[0, 0], [0, 0, 0], [1, 0]])
def test_a_block_is_read_once_and_none_is_read_as_its_own_index(places):
    body = block([(b"", HEADER)])
    with pytest.raises(CheckpointError, match="blocks overlap, or are not in order"):
        read_index(with_blocks([(at, len(body)) for at in places], body), "ours")
    with pytest.raises(CheckpointError, match="blocks overlap, or are not in order"):
        read_index(with_blocks([(len(body) + 5, len(body))], body), "ours")


def test_names_out_of_order():
    body = block([(b"", HEADER), (b"b", entry((1,), 0, 4)), (b"a", entry((1,), 0, 4))])
    with pytest.raises(CheckpointError, match="'a' is out of order"):
        read_index(with_blocks([(0, len(body))], body), "ours")


def test_a_compressed_block():
    body = block([(b"", HEADER)])
    index = with_blocks([(0, len(body))], body)
    with pytest.raises(CheckpointError, match="its block at 0 is compressed, which is not supported"):
        read_index(index[: len(body)] + b"\x01" + index[len(body) + 1 :], "ours")


def survives(index: bytes, data: bytes) -> bool:
    """Whether it gives tensors within the data, or an error of ours, and takes little memory."""
    tracemalloc.start()
    try:
        found = read_tensors(index, data, "ours")
        within = all(tensor.nbytes <= len(data) for tensor in found.values())
    except CheckpointError:
        within = True
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return within and peak < 2**21


CHANGES = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6)


def changed(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    mutable = bytearray(content)
    for at, byte in changes if content else ():
        mutable[at % len(mutable)] = byte
    return bytes(mutable)


@settings(deadline=None, max_examples=300)
@given(CHANGES, st.booleans())
def test_changed_bytes(changes, in_data):
    assert survives(INDEX if in_data else changed(INDEX, changes), changed(DATA, changes) if in_data else DATA)


@settings(deadline=None, max_examples=500)
@given(CHANGES)
def test_changed_bytes_whose_checksums_are_right(changes):
    index, data = checkpoint(TENSORS, lambda body: changed(body, changes))
    assert survives(index, data)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(INDEX)), st.integers(0, len(DATA)))
def test_cut_files(index, data):
    assert survives(INDEX[:index], DATA)
    assert survives(INDEX, DATA[:data])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_as_an_entry(value):
    assert survives(of({b"a": value}), DATA)
