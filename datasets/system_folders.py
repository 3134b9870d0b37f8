"""Folders that systems, not people, put beside music: recycle bins, snapshots, thumbnails, leftovers of a disk check.

What lies in them was deleted, or is a copy of what lies elsewhere, so they are neither searched for audio nor classes.
Hidden folders (`.Trashes`, `.Trash-1000`, `.@__thumb`) need no table: names that begin with a dot are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# In any case: no title looks like these.
SYSTEM_FOLDERS = frozenset(
    {
        "$recycle.bin",  # Windows
        "system volume information",
        "$extend",
        "#recycle",  # Synology
        "#snapshot",
        "@eadir",
        "@tmp",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "@__thumb",
        "recycle bin",  # other network disks
        "network recycle bin",
        "network trash folder",  # macOS on a network disk
        "temporary items",
        "__macosx",  # resource forks in an archive made on macOS
        "lost+found",  # Linux, a disk check
        "~snapshot",  # NetApp
        "files_trashbin",  # Nextcloud
        "files_versions",
    }
)
# As it is written: `Recycler` and `Recycled` are albums.
EXACTLY = frozenset({"RECYCLER", "RECYCLED"})  # Windows until XP, and disks it has seen
CHECKED_DISK = re.compile(r"found\.[0-9]{3}", re.IGNORECASE)  # Windows, a disk check


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name, without what stands above it, is the system's."""
    return name.casefold() in SYSTEM_FOLDERS or name in EXACTLY or CHECKED_DISK.fullmatch(name) is not None


def system_folder_of(track: str) -> str | None:
    """The outermost system folder that a track lies in.

    Args:
        track: Path of its audio below the corpus folder, POSIX separators.

    Returns:
        Path of that folder below the corpus folder; None where the track lies in none.
    """
    folders = PurePosixPath(track).parts[:-1]
    for depth, name in enumerate(folders, start=1):
        if is_system_folder(name):
            return PurePosixPath(*folders[:depth]).as_posix()
    return None


def files_below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Whatever lies below a folder and is none, without what is hidden or lies in a system folder.

    Links to folders are not followed, and are among what is found.

    Raises:
        OSError: A folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield entry
            elif not is_system_folder(entry.name):
                yield from files_below(entry.path)


def leads_above(link: Path, root: Path) -> bool:
    """Whether a link leads to a folder that `root` itself lies in: following it would search the whole disk."""
    return root.resolve().is_relative_to(link.resolve())
