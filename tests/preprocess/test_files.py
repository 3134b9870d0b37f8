"""Which files of a folder are tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
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
    with pytest.raises(AudioError, match=r"no audio file in this folder, nor any other.*\.flac.*\.mp3"):
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


def test_folders_of_the_system_are_passed_over(tmp_path: Path):
    touch(tmp_path, "rock/a.wav", "#recycle/rock/b.wav", "nas/@eaDir/c.mp3/c.mp3", "$RECYCLE.BIN/S-1-5-21/d.wav")
    found = find(tmp_path)
    assert [file.id for file in found.files] == ["rock/a.wav"]
    assert found.passed_over == ["#recycle", "$RECYCLE.BIN", "nas/@eaDir"]
    assert [file.id for file in find(tmp_path / "#recycle").files] == ["rock/b.wav"]  # asked for by its name


def test_only_deleted_audio_is_said(tmp_path: Path):
    touch(tmp_path, "@Recycle/a.wav")
    with pytest.raises(AudioError, match="folders of the system are passed over: @Recycle"):
        find(tmp_path)


def test_real_folders_come_before_links(tmp_path: Path):
    touch(tmp_path, "jazz/a.wav", "rock/b.wav", "rock/live/c.wav")
    (tmp_path / "jazz" / "crossover").symlink_to(tmp_path / "rock")
    (tmp_path / "again").symlink_to(tmp_path / "rock" / "live")
    assert [file.id for file in find(tmp_path).files] == ["jazz/a.wav", "rock/b.wav", "rock/live/c.wav"]


def test_folders_that_cannot_be_listed_are_named_and_nothing_in_them_is_gone(
    tmp_path: Path, refuse: Callable[[Path], None]
):
    touch(tmp_path, "a.wav", "private/b.wav", "private/deep/c.wav")
    refuse(tmp_path / "private")
    found = find(tmp_path)
    assert [file.id for file in found.files] == ["a.wav"]
    assert found.unlisted == {"private/": "folder cannot be read: Permission denied"}
    assert found.gone(["a.wav", "d.wav", "private/b.wav", "private/deep/c.wav", "privately/e.wav"]) == {
        "d.wav",
        "privately/e.wav",
    }


def test_a_folder_that_cannot_be_listed_is_not_without_audio(tmp_path: Path, refuse: Callable[[Path], None]):
    touch(tmp_path, "private/b.wav")
    refuse(tmp_path / "private")
    with pytest.raises(AudioError, match=r"no audio file .* private/ folder cannot be read: Permission denied"):
        find(tmp_path)
    refuse(tmp_path)
    with pytest.raises(AudioError, match="cannot be read: Permission denied"):
        find(tmp_path)


def test_a_link_that_leads_above_the_folder_is_not_followed(tmp_path: Path):
    (tmp_path / "elsewhere.wav").write_bytes(b"x")
    (tmp_path / "music" / "rock").mkdir(parents=True)
    (tmp_path / "music" / "rock" / "song.wav").write_bytes(b"x")
    (tmp_path / "music" / "up").symlink_to("..")
    assert [file.id for file in find(tmp_path / "music").files] == ["rock/song.wav"]
