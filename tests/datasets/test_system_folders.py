"""Which folders belong to the system."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.system_folders import files_below, is_system_folder, system_folder_of


@pytest.mark.parametrize(
    "name",
    [
        "$RECYCLE.BIN",
        "$Recycle.Bin",
        "RECYCLER",
        "System Volume Information",
        "found.000",
        "FOUND.013",
        "#recycle",
        "@eaDir",
        "@Recycle",
        "@Recently-Snapshot",
        "__MACOSX",
        "lost+found",
        "Network Trash Folder",
    ],
)
def test_folders_of_systems(name: str):
    assert is_system_folder(name)


@pytest.mark.parametrize(
    "name", ["Recycled", "Recycler", "Lost & Found", "found.0", "found.0000", "#1", "@ home", "rock", "Trash", ""]
)
def test_folders_of_people(name: str):
    assert not is_system_folder(name)


@pytest.mark.parametrize(
    ("track", "folder"),
    [
        ("#recycle/rock/deleted.wav", "#recycle"),
        ("nas/@eaDir/song.mp3/x.mp3", "nas/@eaDir"),
        ("$RECYCLE.BIN/@Recycle/a.wav", "$RECYCLE.BIN"),
        ("rock/lost+found", None),  # a file of that name
        ("rock/a.wav", None),
        ("a.wav", None),
    ],
)
def test_the_outermost_system_folder_of_a_track(track: str, folder: str | None):
    assert system_folder_of(track) == folder


def test_files_of_people(tmp_path: Path):
    for name in ("a.npy", "deep/b.npy", ".c.npy", ".hidden/d.npy", "@eaDir/e.npy", "deep/#recycle/f.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "back").symlink_to(tmp_path)
    assert sorted(Path(one.path).relative_to(tmp_path).as_posix() for one in files_below(tmp_path)) == [
        "a.npy",
        "back",
        "deep/b.npy",
    ]
