"""Which folders belong to the system."""

from __future__ import annotations

import pytest

from datasets.system_folders import is_system_folder, system_folder_of


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
