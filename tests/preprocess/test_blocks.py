"""Compressed files that end within a block."""

from __future__ import annotations

import io
import struct

import pytest

from preprocess.blocks import ASF_DATA, ASF_HEADER, MATROSKA, SEGMENT, break_off
from preprocess.spans import Peek

BOXES = struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s", 12, b"moov") + bytes(4)
FILES = {
    "mp4": BOXES + struct.pack(">I4s", 108, b"mdat") + bytes(range(1, 101)),
    "long mp4": BOXES + struct.pack(">I4sQ", 1, b"mdat", 116) + bytes(100),
    "wma": ASF_HEADER + struct.pack("<q", 30) + bytes(6) + ASF_DATA + struct.pack("<q", 124) + bytes(100),
    "wavpack": 3 * (b"wvpk" + struct.pack("<I", 60) + bytes(60)),
    "matroska": MATROSKA + b"\x84four" + SEGMENT + b"\x40\x64" + bytes(100),
    "aac": 3 * (b"\xff\xf1\x50\x80" + bytes((100 >> 3, (100 & 7) << 5, 0)) + bytes(93)),
    "ac3": 3 * (b"\x0b\x77\0\0\x00\x40" + bytes(122)),
    "eac3": 3 * (b"\x0b\x77\x00\x3f\x00\x80" + bytes(122)),
    "dts": 3 * (b"\x7f\xfe\x80\x01\0\0" + bytes((127 >> 4, (127 & 15) << 4)) + bytes(120)),
}


def ends_early(content: bytes) -> bool:
    return break_off(Peek(io.BytesIO(content)))


@pytest.mark.parametrize("name", FILES)
def test_whole_and_cut(name: str):
    content = FILES[name]
    assert not ends_early(content)
    assert all(ends_early(content[:-lost]) for lost in (1, 2, 50))


@pytest.mark.parametrize("name", ["aac", "ac3", "wavpack"])
def test_a_tag_behind_the_audio_is_none_of_it(name: str):
    assert not ends_early(FILES[name] + b"TAG" + bytes(125))


def test_an_open_end_promises_nothing():
    assert not ends_early(BOXES + struct.pack(">I4s", 0, b"mdat") + bytes(10))
    assert not ends_early(MATROSKA + b"\x84four" + SEGMENT + b"\x01" + b"\xff" * 7 + bytes(10))


def test_a_box_larger_than_any_file_ends_the_search():
    assert not ends_early(BOXES + struct.pack(">I4sQ", 1, b"free", 2**64 - 1) + bytes(10))


@pytest.mark.parametrize("content", [b"", b"words", bytes(1000), MATROSKA, b"\xff\xf1"])
def test_anything_else(content: bytes):
    assert not ends_early(content)
