"""How many bytes the headers of a file promise, and how many there are.

A decoder reads what is there, and says nothing where that is less: a recording that was cut short looks like a short
one. A recorder that was switched off leaves the length at 0, and decoders believe it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.spans import Peek

W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
OPEN_END = 4096  # bytes within which a length near 2**31 or 2**32 means that whoever wrote it did not know


@dataclass(frozen=True)
class SampleBytes:
    """Where the samples of a file lie.

    Attributes:
        start: Position of the first.
        promised: Bytes that there should be; None where the header does not say, as of what went through a pipe.
        present: Bytes that there are, at most.
    """

    start: int
    promised: int | None
    present: int

    @property
    def cut(self) -> bool:
        """Whether some of the promised bytes are not there."""
        return self.promised is not None and self.promised > self.present

    @property
    def forgotten(self) -> bool:
        """Whether there are samples and a length of 0, which was to be written at the end."""
        return self.promised == 0 and self.present > 0


def data(peek: Peek) -> SampleBytes | None:
    """Find the samples of a file: RIFF and RF64 WAVE, Wave64, AIFF, AU, CAF; None for any other, or without samples.

    Raises:
        OSError: The file cannot be read.
    """
    head = peek(0, 40)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _riff(peek)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(peek)
    if head[:4] == b".snd" and len(head) >= 12:
        start, size = struct.unpack_from(">II", head, 4)
        return SampleBytes(start, _known(size), max(peek.size - start, 0))
    if head[:4] == b"caff":
        for id, start, size in chunks(peek, 8, ">4sq"):
            if id == b"data":  # behind a count of edits
                return SampleBytes(start + 4, None if size < 0 else max(size - 4, 0), max(peek.size - start - 4, 0))
    if head[:16] == W64_RIFF:
        for id, start, size in chunks(peek, 40, "<16sq", counts_itself=True, alignment=8):
            if id == W64_DATA:
                return SampleBytes(start, max(size, 0), max(peek.size - start, 0))
    return None


def _riff(peek: Peek) -> SampleBytes | None:
    """RIFF and RF64, whose length of more than 32 bits stands in a chunk of its own."""
    long = None
    for id, start, size in chunks(peek, 12, "<4sI", alignment=2):
        if id == b"ds64":
            (long,) = struct.unpack("<Q", peek(start + 8, 8).ljust(8, b"\0"))
        if id == b"data":
            promised = long if size == 0xFFFFFFFF and long is not None else _known(size)
            present = max(peek.size - start, 0)
            return SampleBytes(start, promised, 0 if promised == 0 and _is_chunk(peek, start, "<4sI") else present)
    return None


def _aiff(peek: Peek) -> SampleBytes | None:
    for id, start, size in chunks(peek, 12, ">4sI", alignment=2):
        if id == b"SSND":  # behind an offset and the size of blocks
            promised = None if _known(size) is None else max(size - 8, 0)
            present = max(peek.size - start - 8, 0)
            return SampleBytes(
                start + 8, promised, 0 if promised == 0 and _is_chunk(peek, start + 8, ">4sI") else present
            )
    return None


def chunks(
    peek: Peek, position: int, layout: str, counts_itself: bool = False, alignment: int = 1
) -> Iterator[tuple[bytes, int, int]]:
    """Id of each chunk, where its content begins, and its size."""
    head = struct.Struct(layout)
    while len(raw := peek(position, head.size)) == head.size:
        id, size = head.unpack(raw)
        size -= head.size * counts_itself
        yield id, position + head.size, size
        position += head.size + max(size, 0)
        position += -position % alignment


def _known(size: int) -> int | None:
    """A size of 32 bits, where it is one: programs that write into a pipe put the largest they can."""
    return None if min(abs(size - 2**31), abs(size - 2**32)) <= OPEN_END else size


def _is_chunk(peek: Peek, position: int, layout: str) -> bool:
    """Whether chunks that end where the file does begin here."""
    end = position
    for id, start, size in chunks(peek, position, layout, alignment=2):
        if not all(32 <= byte < 127 for byte in id):
            return False
        end = start + size
    return peek.size - 1 <= end <= peek.size or position >= peek.size
