"""Tensors of a TensorFlow checkpoint, without TensorFlow.

A checkpoint is a pair of files. `.index` is a table in the format of LevelDB: blocks of sorted keys, of which each
shares a beginning with the one before, then a block that says where the blocks are, then a footer. Its values are
messages in protobuf's wire format, `BundleEntryProto` of TensorFlow's `tensor_bundle.proto`: type, shape, and the place
of the numbers in `.data-00000-of-00001`.

Every length and place in these files is checked against what there is before it is used, and there are limits to names,
entries and messages, so that a damaged or hostile pair can neither crash the process nor fill its memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.errors import CheckpointError

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER = 48  # bytes
TRAILER = 5  # bytes behind a block: how it is compressed, and its checksum
LARGEST_INDEX = 2**24  # bytes
LONGEST_NAME = 1024  # bytes
LONGEST_MESSAGE = 1024  # bytes: an entry has some 50
MOST_ENTRIES = 2**16
DEEPEST = 8  # dimensions of a tensor
MASK = 0xA282EAD8  # added to a checksum before it is stored
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}  # TensorFlow's DataType, to numpy's

Fields = dict[int, list[int | bytes]]  # of a message, by number


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the index.

    Attributes:
        name: As the graph has it.
        kind: TensorFlow's number of its type.
        shape: Its dimensions.
        offset: Of its first byte in the file of data.
        size: Bytes.
        checksum: Of the bytes, masked.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


def read_index(index: bytes, where: str) -> dict[str, StoredTensor]:
    """What a checkpoint holds, by name.

    Args:
        index: Content of the file `.index`.
        where: Its name, for messages.

    Raises:
        CheckpointError: It is no such file, damaged, or of a checkpoint in several pieces.
    """
    if len(index) > LARGEST_INDEX:
        raise CheckpointError(f"{where} has {len(index):,} bytes, expected {LARGEST_INDEX:,} at most")
    if len(index) < FOOTER or not index.endswith(MAGIC):
        raise CheckpointError(f"{where} is not the index of a TensorFlow checkpoint, or its end is missing")
    found = dict(_table(index, where))
    _check_header(found.pop(b"", None), where)
    entries = [_entry(key, value, where) for key, value in found.items()]
    return {entry.name: entry for entry in entries}


def read_tensors(
    index: bytes, data: bytes, where: str, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray]:
    """Tensors of a checkpoint, by name; read-only views of `data`.

    Args:
        index: Content of the file `.index`.
        data: Content of the file `.data-00000-of-00001`.
        where: Name of the checkpoint, for messages.
        wanted: Which tensors to read.

    Raises:
        CheckpointError: A file is damaged, or a tensor is of a type that is no number.
    """
    return {
        entry.name: _tensor(entry, data, where) for entry in read_index(index, where).values() if wanted(entry.name)
    }


def checksum(content: bytes) -> int:
    """CRC-32C (Castagnoli), masked as LevelDB stores it."""
    value = 0xFFFFFFFF
    for byte in content:
        value = _CRC[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + MASK) & 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = tuple(map(_crc_of, range(256)))


def _table(index: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values, in their order; those of each block, whose places the last block holds."""
    footer, end = index[-FOOTER:], len(index) - FOOTER
    (_, _), at = _handle(footer, 0, where)
    place, _ = _handle(footer, at, where)
    blocks = [_handle(value, 0, where)[0] for _, value in _block(index, *place, end, where)]
    if any(later[0] < sum(earlier) + TRAILER for earlier, later in pairwise([*blocks, place])):
        raise CheckpointError(f"{where}: its blocks overlap, or are not in order; the file is damaged")
    last, count = None, 0
    for offset, size in blocks:
        for key, value in _block(index, offset, size, end, where):
            count += 1
            if (last is not None and key <= last) or count > MOST_ENTRIES:
                raise CheckpointError(f"{where}: {_shown(key)} is out of order, or one of too many; it is damaged")
            last = key
            yield key, value


def _block(index: bytes, offset: int, size: int, end: int, where: str) -> list[tuple[bytes, bytes]]:
    """Keys and values of a block."""
    if size < 4 or offset + size + TRAILER > end:
        raise CheckpointError(f"{where}: a block of {size:,} bytes at {offset:,} is not in the file; it is damaged")
    content = index[offset : offset + size]
    stored = int.from_bytes(index[offset + size + 1 : offset + size + TRAILER], "little")
    if index[offset + size] != 0:
        raise CheckpointError(f"{where}: its block at {offset:,} is compressed, which is not supported")
    if checksum(index[offset : offset + size + 1]) != stored:
        raise CheckpointError(f"{where}: its block at {offset:,} has another checksum; the file is damaged")
    restarts = int.from_bytes(content[-4:], "little")
    entries = content[: max(0, size - 4 - 4 * restarts)]
    found: list[tuple[bytes, bytes]] = []
    at, key = 0, b""
    while at < len(entries):
        shared, at = _varint(entries, at, where)
        own, at = _varint(entries, at, where)
        length, at = _varint(entries, at, where)
        if shared > len(key) or shared + own > LONGEST_NAME or at + own + length > len(entries):
            raise CheckpointError(f"{where}: what follows {_shown(key)} reaches out of its block; the file is damaged")
        key = key[:shared] + entries[at : at + own]
        found.append((key, entries[at + own : at + own + length]))
        at += own + length
        if len(found) > MOST_ENTRIES:
            raise CheckpointError(f"{where} has more than {MOST_ENTRIES:,} entries")
    return found


def _check_header(header: bytes | None, where: str) -> None:
    """One piece, little-endian."""
    if header is None:
        raise CheckpointError(f"{where} has no header; it is not the index of a TensorFlow checkpoint")
    fields = _message(header, f"{where}: its header")
    if _number(fields, 1, where) != 1 or _number(fields, 2, where) != 0:
        raise CheckpointError(f"{where}: of a checkpoint in several pieces, or big-endian; save it as one piece")


def _entry(key: bytes, value: bytes, where: str) -> StoredTensor:
    try:
        name = key.decode()
    except UnicodeDecodeError:
        raise CheckpointError(f"{where}: {_shown(key)} is no name; the file is damaged") from None
    where = f"{where}: {_shown(key)}"
    fields = _message(value, where)
    if 7 in fields or _number(fields, 3, where) != 0:
        raise CheckpointError(f"{where} is stored in several pieces, which is not supported")
    shape = _shape(fields.get(2, [b""])[-1], where)
    numbers = (_number(fields, number, where) for number in (4, 5, 6))
    return StoredTensor(name, _number(fields, 1, where), shape, *numbers)


def _shape(value: int | bytes, where: str) -> tuple[int, ...]:
    """Dimensions of a `TensorShapeProto`."""
    if not isinstance(value, bytes):
        raise CheckpointError(f"{where} has no readable shape; the file is damaged")
    fields = _message(value, where)
    dimensions = [_message(one, where) if isinstance(one, bytes) else {} for one in fields.get(2, [])]
    shape = tuple(_number(dimension, 1, where) for dimension in dimensions)
    if 3 in fields or len(shape) > DEEPEST:
        raise CheckpointError(f"{where} has {len(shape) or 'unknown'} dimensions, expected {DEEPEST} at most")
    return shape


def _tensor(entry: StoredTensor, data: bytes, where: str) -> np.ndarray:
    """A view of the numbers of an entry."""
    if entry.kind not in TYPES:
        raise CheckpointError(f"{where}: {entry.name:.80} is of TensorFlow's type {entry.kind}, expected numbers")
    kind = np.dtype(TYPES[entry.kind])
    needed = math.prod(entry.shape) * kind.itemsize
    if entry.size != needed or entry.offset + entry.size > len(data):
        raise CheckpointError(
            f"{where}: {entry.name:.80} has the shape {list(entry.shape)} ({needed:,} bytes), the index names "
            f"{entry.size:,} bytes at {entry.offset:,}, the file of data has {len(data):,}; they do not belong together"
        )
    content = memoryview(data)[entry.offset : entry.offset + entry.size]
    if checksum(content) != entry.checksum:
        raise CheckpointError(f"{where}: {entry.name:.80} has another checksum; the file of data is damaged")
    try:
        return np.frombuffer(content, kind).reshape(entry.shape)
    except ValueError:  # dimensions beyond numpy's, beside one of 0
        raise CheckpointError(f"{where}: {entry.name:.80} has the impossible shape {list(entry.shape)}") from None


def _message(content: bytes, where: str) -> Fields:
    """Fields of a protobuf message by number: whole numbers, and bytes of what has a length."""
    if len(content) > LONGEST_MESSAGE:
        raise CheckpointError(f"{where} is a message of {len(content):,} bytes, expected {LONGEST_MESSAGE:,} at most")
    fields: Fields = {}
    at = 0
    while at < len(content):
        tag, at = _varint(content, at, where)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(content, at, where)
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire)
            if length is None:
                length, at = _varint(content, at, where)
            if at + length > len(content):
                raise CheckpointError(f"{where} ends within a field; the file is damaged")
            raw, at = content[at : at + length], at + length
            value = raw if wire == 2 else int.from_bytes(raw, "little")
        else:
            raise CheckpointError(f"{where} holds a field of an unknown kind; the file is damaged")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _number(fields: Fields, number: int, where: str) -> int:
    """A whole number; 0 where the field is left out, as protobuf has it."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise CheckpointError(f"{where}: its field {number} is no number; the file is damaged")
    return value


def _handle(content: bytes, at: int, where: str) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and what comes behind them."""
    offset, at = _varint(content, at, where)
    size, at = _varint(content, at, where)
    return (offset, size), at


def _varint(content: bytes, at: int, where: str) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and what comes behind it."""
    value = 0
    for position, byte in enumerate(content[at : at + 10]):
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value, at + position + 1
    raise CheckpointError(f"{where} ends within a number, or holds one of more than 64 bits; the file is damaged")


def _shown(key: bytes) -> str:
    return repr(key[:80])[1:]
