"""The pages of an Ogg file."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.ogg import Link, links


def found(content: bytes) -> list[Link]:
    return links(io.BytesIO(content))


def pages(content: bytes) -> list[bytes]:
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


@pytest.fixture
def ogg(write: Callable[..., Path]) -> bytes:
    return write("whole.ogg", seconds=20, rate=22050).read_bytes()


def test_a_whole_stream(ogg: bytes):
    (link,) = found(ogg)
    assert (link.start, link.end, link.whole, link.missing) == (0, len(ogg), True, 0)


def test_a_chain(ogg: bytes):
    assert [(link.start, link.end) for link in found(ogg + ogg)] == [(0, len(ogg)), (len(ogg), 2 * len(ogg))]


@pytest.mark.parametrize("lost", [1, 100, 5000])
def test_without_its_end_a_stream_is_not_whole(ogg: bytes, lost: int):
    assert [link.whole for link in found(ogg[:-lost])] == [False]
    assert [link.whole for link in found(ogg[:-lost] + ogg)] == [False, True]


def test_missing_pages_are_counted(ogg: bytes):
    parts = pages(ogg)
    (link,) = found(b"".join(parts[:4] + parts[6:]))
    assert (link.whole, link.missing) == (True, 2)
    (link,) = found(b"".join(parts[:4]) + bytes(len(parts[4])) + b"".join(parts[5:]))  # a hole in a download
    assert (link.whole, link.missing) == (True, 1)


def test_audio_can_hold_the_letters_of_a_page_by_chance(ogg: bytes):
    parts = pages(ogg)
    parts[3] = parts[3][:-8] + b"OggS" + parts[3][-4:]
    (link,) = found(b"".join(parts))
    assert (link.end, link.whole, link.missing) == (len(ogg), True, 0)


def test_streams_that_begin_together_are_one_link(ogg: bytes):
    picture = struct.pack("<4sBBqIIIBB", b"OggS", 0, 2, 0, 77, 0, 0, 1, 8) + b"\x80theora "
    (link,) = found(picture + ogg)
    assert (link.start, link.whole) == (0, True)
    assert link.audio != 77


@pytest.mark.parametrize("content", [b"", b"OggS", b"words " * 100, b"OggS" + bytes(100)])
def test_no_audio(content: bytes):
    assert found(content) == []
