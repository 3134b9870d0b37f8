"""Whether a compressed file ends within one of the blocks that it is made of.

The containers that ffmpeg reads all consist of blocks that begin with their size. A file that was cut short mostly ends
within one of them, however its length is stored.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from preprocess import lengths
from preprocess.spans import Peek

ASF_HEADER = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
ASF_DATA = b"\x36\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
AC3_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)  # kbit/s


def break_off(peek: Peek) -> bool:
    """Whether a file of MPEG-4, ASF (wma), WavPack, Matroska, AAC, AC-3 or DTS ends within a block of its audio.

    Raises:
        OSError: The file cannot be read.
    """
    head = peek(0, 16)
    if head[4:8] == b"ftyp":
        return any(id == b"mdat" and end > peek.size for id, end in _boxes(peek))
    if head == ASF_HEADER:
        parts = lengths.chunks(peek, 0, "<16sq", counts_itself=True)
        return any(id == ASF_DATA and start + size > peek.size for id, start, size in parts)
    if head.startswith(b"wvpk"):
        parts = lengths.chunks(peek, 0, "<4sI")
        return any(id == b"wvpk" and start + size > peek.size for id, start, size in parts)
    if head.startswith(MATROSKA):
        return _matroska_end(peek) > peek.size
    return any(_frames_break_off(peek, size) for size in (_adts, _ac3, _dts) if size(head))


def _boxes(peek: Peek) -> Iterator[tuple[bytes, int]]:
    """Type of each outermost box of MPEG-4, and where it ends; the last one may leave that open."""
    position = 0
    while len(raw := peek(position, 16)) >= 8:
        size, id = struct.unpack_from(">I4s", raw)
        if size == 1:
            size = int.from_bytes(raw[8:16])
        if size < 8:
            return
        position += size
        yield id, position


def _matroska_end(peek: Peek) -> int:
    """Where the segment ends that holds everything; 0 where that is left open, as in a broadcast."""
    size, position = _number(peek, 4)
    position += size
    if peek(position, 4) != SEGMENT:
        return 0
    size, start = _number(peek, position + 4)
    return start + size if size < 2**56 - 1 else 0


def _number(peek: Peek, position: int) -> tuple[int, int]:
    """A number of Matroska, whose first byte tells its length, and the position behind it."""
    raw = peek(position, 8)
    length = 9 - raw[0].bit_length() if raw and raw[0] else 1
    number = int.from_bytes(raw[:length]) & (1 << 7 * length) - 1
    return (2**56 if number == (1 << 7 * length) - 1 else number), position + length


def _frames_break_off(peek: Peek, size: Callable[[bytes], int]) -> bool:
    position, length = 0, size(peek(0, 16))
    while length and position + length <= peek.size:
        position += length
        length = size(peek(position, 16))
    rest = peek(position, 16)
    return length > 0 or (0 < len(rest) < 8 and rest[:1] == peek(0, 1))  # too little to tell how much there should be


def _adts(head: bytes) -> int:
    """Bytes of a frame of AAC; 0 where it is none, or too little of it is there."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _ac3(head: bytes) -> int:
    """Bytes of a frame of AC-3 or E-AC-3."""
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:
        return 2 * ((head[2] & 7) << 8 | head[3]) + 2
    rate, index = head[4] >> 6, head[4] & 63
    if rate == 3 or index // 2 >= len(AC3_RATES):
        return 0
    kilobits = AC3_RATES[index // 2]
    return 2 * (2 * kilobits, 96_000 * kilobits // 44_100 + index % 2, 3 * kilobits)[rate]


def _dts(head: bytes) -> int:
    """Bytes of a frame of DTS."""
    if len(head) < 8 or head[:4] != b"\x7f\xfe\x80\x01":
        return 0
    return ((head[5] & 3) << 12 | head[6] << 4 | head[7] >> 4) + 1
