"""Which files of a folder are tracks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from preprocess.files import choose, find
from preprocess.sources import AudioError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def test_finds_audio_in_sub_folders_and_counts_the_rest(tmp_path: Path):
    touch(tmp_path, "b.MP3", "a/c.ogg", "a/d/e.m4a", "a/b.beats", "tracks.csv", "README", ".hidden.wav", ".cache/f.wav")
    touch(tmp_path, "a/c.beats", "a/d/e.txt")  # annotations of a track beside it
    found = find(tmp_path)
    files, others = found.files, found.others
    assert [file.id for file in files] == ["a/c.ogg", "a/d/e.m4a", "b.MP3"]
    assert [file.bytes for file in files] == [7, 9, 5]
    assert others == Counter({".beats": 1, ".csv": 1, "README": 1})


def test_follows_links_once(tmp_path: Path):
    touch(tmp_path, "elsewhere/a.wav", "music/b.wav")
    (tmp_path / "music" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music" / "again").symlink_to(tmp_path / "music")
    (tmp_path / "music" / "gone.wav").symlink_to(tmp_path / "nothing")
    files = find(tmp_path / "music").files
    assert [(file.id, file.bytes) for file in files] == [("b.wav", 11), ("gone.wav", -1), ("more/a.wav", 15)]


def test_names_that_are_not_utf8_get_an_id_that_can_be_stored(tmp_path: Path):
    touch(tmp_path, "caf\udce9.wav")
    (file,) = find(tmp_path).files
    assert file.id == "caf\\udce9.wav"
    assert file.path.exists()


def test_chooses_by_id_whether_there_or_not(tmp_path: Path):
    touch(tmp_path, "a.wav")
    assert [(file.id, file.bytes) for file in choose(tmp_path, ["b.wav", "a.wav", "b.wav"])] == [
        ("b.wav", -1),
        ("a.wav", 5),
    ]


def test_a_folder_without_audio_says_what_is_in_it(tmp_path: Path):
    with pytest.raises(AudioError, match=r"no audio file in this folder, only nothing.*\.flac.*\.mp3"):
        find(tmp_path)
    touch(tmp_path, "a.txt", "b.txt")
    with pytest.raises(AudioError, match=r"only 2 \.txt"):
        find(tmp_path)


@pytest.mark.parametrize("ask", [find, lambda folder: choose(folder, ["a.wav"])])
def test_no_folder(tmp_path: Path, ask):
    with pytest.raises(AudioError, match="no such folder"):
        ask(tmp_path / "missing")
    touch(tmp_path, "a.wav")
    with pytest.raises(AudioError, match="a file, not a folder"):
        ask(tmp_path / "a.wav")
