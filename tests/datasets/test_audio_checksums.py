"""Which stores are of the same audio, whatever was computed of it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from datasets.audio_checksums import audio_checksum, tracks_of_other_audio
from datasets.store import Header, Store, StoreWriter


def made(folder: Path, fingerprint: str, audio: dict[str, str | None]) -> Store:
    """A store of one row a track, whose values are the front end's own."""
    with StoreWriter(folder / fingerprint, Header("mel", (2,), fingerprint=fingerprint)) as writer:
        for number, (identity, checksum) in enumerate(audio.items()):
            row = np.full((1, 2), number + len(fingerprint), np.float16)
            writer.append(identity, row, audio_checksum=checksum)
    return Store(folder / fingerprint)


def differ(then: str, now: str) -> bool:
    return then != now


def test_a_checksum_is_of_the_bytes_of_the_file(tmp_path: Path):
    data = bytes(range(256)) * 9000
    (tmp_path / "a.wav").write_bytes(data)
    assert audio_checksum(tmp_path / "a.wav") == f"crc32:{zlib.crc32(data):08x}"
    assert audio_checksum(tmp_path / "gone.wav") is None


def test_other_features_of_the_same_audio_are_of_the_same_audio(tmp_path: Path):
    audio = {"a": "crc32:01", "b": "crc32:02"}
    one, two = made(tmp_path, "one", audio), made(tmp_path, "second", audio)
    ids = {"b": "b", "a": "a"}
    assert tracks_of_other_audio(one, two, ids, differ) == []
    replaced = made(tmp_path, "replaced", audio | {"a": "crc32:03"})
    assert tracks_of_other_audio(one, replaced, ids, differ) == ["a"]


def test_the_other_checksums_tell_where_the_audio_is_not_known(tmp_path: Path):
    one = made(tmp_path, "one", {"a": None, "b": "crc32:02", "c": "crc32:03"})
    two = made(tmp_path, "second", {"a": "crc32:01", "b": "crc32:02", "d": "crc32:04"})
    ids = {one: one for one in "abcde"}
    assert tracks_of_other_audio(one, two, ids, differ) == ["a"]
    assert tracks_of_other_audio(one, two, ids, lambda *_: False) == []


def test_tracks_may_have_another_name_in_the_other_store(tmp_path: Path):
    one, two = made(tmp_path, "one", {"a.mp3": "crc32:01"}), made(tmp_path, "second", {"a.flac": "crc32:09"})
    assert tracks_of_other_audio(one, two, {"a.flac": "a.mp3"}, differ) == ["a.flac"]
