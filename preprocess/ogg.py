"""The pages of an Ogg file: which streams follow one another, and whether each is whole (RFC 3533).

Recorded radio is a chain: a new stream begins with every song, and decoders that know only the first stop there. The
last page of a stream is marked, so what was cut short is known by the mark that is missing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from preprocess.spans import READ_AHEAD, Peek

PAGE = struct.Struct("<4sBBqIIIB")  # capture, version, flags, granule, serial, number, checksum, segments
FIRST, LAST = 2, 4
AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")  # how the first packet begins


@dataclass
class Link:
    """Streams that begin together, up to where others begin; one of them mostly.

    Attributes:
        start, end: Its bytes.
        whole: The audio has its last page, or there is no audio.
        missing: Pages of the audio that are not there, by the numbers of those that are.
        audio: Serial number of the first stream of audio; None where there is none.
    """

    start: int
    end: int
    whole: bool = True
    missing: int = 0
    audio: int | None = None
    _data: bool = field(default=False, repr=False)
    _page: int = field(default=0, repr=False)


def links(file: BinaryIO) -> list[Link]:
    """Find the links of a chain.

    Args:
        file: Opened for reading, without a buffer of its own.

    Returns:
        Those with audio, in order.

    Raises:
        OSError: The file cannot be read.
    """
    peek, found, position = Peek(file), [], 0
    while position < peek.size:
        page = peek(position, PAGE.size + 255)
        if len(page) < PAGE.size or not page.startswith(b"OggS"):
            position = _resynchronise(peek, position)
            continue
        _, _, flags, _, serial, number, _, segments = PAGE.unpack_from(page)
        size = PAGE.size + segments + sum(page[PAGE.size : PAGE.size + segments])
        if position + size > peek.size or _is_overrun(peek, position, size):
            position = _resynchronise(peek, position)
            continue
        if flags & FIRST and (not found or found[-1]._data):
            if found:
                found[-1].end = position
            found.append(Link(position, peek.size))
        if found:
            begins = peek(position + PAGE.size + segments, 8) if flags & FIRST else b""
            _enter(found[-1], flags, serial, number, begins)
        position += size
    return [link for link in found if link.audio is not None]


def _enter(link: Link, flags: int, serial: int, number: int, begins: bytes) -> None:
    """Note a page."""
    link._data |= not flags & FIRST
    if link.audio is None and begins.startswith(AUDIO):
        link.audio, link.whole, link._page = serial, False, number - 1
    if serial == link.audio:
        link.missing += max(number - link._page - 1, 0)
        link.whole |= bool(flags & LAST)
        link._page = number


def _is_overrun(peek: Peek, position: int, size: int) -> bool:
    """Whether the page was cut short and another file begins within it; audio can hold the four letters by chance."""
    return b"OggS" in peek(position + 4, size - 1) and peek(position + size, 4) not in (b"OggS", b"")


def _resynchronise(peek: Peek, position: int) -> int:
    """Where the next page begins, or the end of the file."""
    data = peek(position + 1, READ_AHEAD)
    at = data.find(b"OggS")
    if at >= 0:
        return position + 1 + at
    return position + max(len(data) - 3, 1)
