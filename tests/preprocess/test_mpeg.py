"""The frames of an mp3: counted exactly, whatever lies between them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.mpeg import Stretch, corrected, walk

Write = Callable[..., Path]
PICTURE = b"ID3\x03\0\0\0\0\x7f\x76" + b"\xff\xd8\xff\xe0" + bytes(16_370)  # a tag of 16,374 bytes behind its head
ID3V1, APE = b"TAG" + bytes(125), b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)


def frames(content: bytes) -> list[Stretch]:
    return walk(io.BytesIO(content))


@pytest.fixture
def mp3(write: Write) -> bytes:
    """4 s of stereo at 44.1 kHz: 155 frames of 1,152 samples behind an announcement that says so."""
    return write("whole.mp3", seconds=4, rate=44100, channels=2).read_bytes()


def test_a_whole_file(mp3: bytes):
    (stretch,) = frames(mp3)
    (told,) = stretch.announcements
    assert (stretch.kind.sample_rate, stretch.kind.mono) == (44100, False)
    assert stretch.frames == told.frames == told.followed
    assert stretch.frames * 1152 - told.trimmed == 4 * 44100
    assert not stretch.cut
    assert stretch.alien == 0


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (22050, 1), (32000, 1), (48000, 2)])
def test_all_rates(write: Write, rate: int, channels: int):
    (stretch,) = frames(write("any.mp3", seconds=2, rate=rate, channels=channels).read_bytes())
    assert stretch.kind[:2] == (rate, 1152 if rate >= 32000 else 576)
    assert stretch.frames * stretch.kind.samples - stretch.announcements[0].trimmed == 2 * rate


def test_tags_are_not_audio(mp3: bytes):
    plain = frames(mp3)[0]
    (tagged,) = frames(PICTURE + PICTURE + mp3 + APE + ID3V1)
    assert (tagged.frames, tagged.alien, tagged.cut) == (plain.frames, 0, False)


def test_joined_files_are_one(mp3: bytes):
    (joined,) = frames(mp3 + ID3V1 + PICTURE + mp3)
    assert joined.frames == 2 * frames(mp3)[0].frames
    assert [one.followed for one in joined.announcements] == [joined.frames // 2] * 2
    assert not joined.cut
    assert joined.alien == 0


def test_a_change_of_rate_begins_another_stretch(mp3: bytes, write: Write):
    other = write("other.mp3", seconds=1, rate=22050).read_bytes()
    first, second, third = frames(mp3 + other + mp3)
    assert (first.kind, second.kind.sample_rate, second.kind.mono) == (third.kind, 22050, True)
    assert second.frames == frames(other)[0].frames


def test_damage_in_the_middle_is_passed_over_and_counted(mp3: bytes):
    spans = frames(mp3)[0].spans[0]
    middle = (spans[0] + spans[1]) // 2
    (stretch,) = frames(mp3[:middle] + bytes(20_000) + mp3[middle + 20_000 :])
    assert 20_000 <= stretch.alien < 22_000
    assert len(stretch.spans) == 2


@pytest.mark.parametrize("lost", [1, 3, 100, 5000])
def test_a_file_without_its_end_is_cut(mp3: bytes, lost: int):
    (stretch,) = frames(mp3[:-lost])
    assert stretch.cut
    assert stretch.missing == stretch.announcements[0].frames - stretch.frames


def test_without_announcement_a_broken_frame_tells(mp3: bytes):
    start, end = frames(mp3)[0].spans[0]
    assert not frames(mp3[start:end])[0].cut
    assert frames(mp3[start : end - 10])[0].cut


@pytest.mark.parametrize("count", [0, 7, 100_000])
def test_a_wrong_count_over_all_its_bytes_is_only_wrong(mp3: bytes, count: int):
    at = mp3.index(b"Xing") + 8 if b"Xing" in mp3 else mp3.index(b"Info") + 8
    wrong = mp3[:at] + struct.pack(">I", count) + mp3[at + 4 :]
    (stretch,) = frames(wrong)
    assert stretch.frames == frames(mp3)[0].frames
    assert not stretch.cut


def test_an_announcement_is_set_right(mp3: bytes):
    (stretch,) = frames(mp3 + mp3)
    again = corrected(stretch)
    (told,) = frames(again + mp3[slice(*frames(mp3)[0].spans[0])])[0].announcements
    assert told.frames == stretch.frames
    assert told.trimmed == stretch.announcements[0].trimmed


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff" * 5000, bytes(5000), b"words " * 1000, PICTURE, b"ID3\xff\xff"]
)
def test_no_frames(content: bytes):
    assert frames(content) == []
