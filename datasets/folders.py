"""A corpus without any table: a folder a class, with or without a folder a split above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from datasets.corpus import ASSIGNED, GIVEN, SPLIT_NAMES, Corpus, Track
from datasets.identity import composed
from datasets.splits import hashed_split
from datasets.system_folders import system_folder_of
from datasets.tables import CorpusError
from datasets.text import pluralize


def read_folders(ids: Iterable[str], name: str) -> Corpus:
    """Take the folders that tracks lie in for their genres: `rock/song.mp3`, or `train/rock/song.mp3`.

    Args:
        ids: Paths of the tracks; a track outside every folder has no genre. Folders of the system are passed over.
        name: Of the corpus.

    Raises:
        CorpusError: There are fewer than two classes.
    """
    ids = list(dict.fromkeys(composed(identity) for identity in ids))
    passed_over = sorted({folder for identity in ids if (folder := system_folder_of(identity)) is not None})
    paths = sorted(PurePosixPath(identity) for identity in ids if system_folder_of(identity) is None)
    by_split = _are_splits(paths)
    tracks = []
    for path in paths:
        folders = path.parts[:-1]
        split = _split_of(path) if by_split and folders else hashed_split(path.as_posix())
        genre = folders[by_split] if len(folders) > by_split else None
        tracks.append(Track(path.as_posix(), split, {"genre": genre} if genre else {}))
    classes = Counter(track.annotations.get("genre", "") for track in tracks)
    outside = classes.pop("", 0)
    if len(classes) < 2:
        raise CorpusError(
            f"{name}: {pluralize(len(classes), 'folder')} with audio directly below "
            f"it{' and its splits' * by_split}; "
            f"for classes by folder there must be two or more (rock/song.mp3, jazz/song.mp3)"
        )
    shown = ", ".join(f"{genre} {count}" for genre, count in classes.most_common(8)) + ", ..." * (len(classes) > 8)
    notes = [f"{name}: its {len(classes)} folders are taken for genres: {shown}"]
    if passed_over:
        notes.append(f"{name}: folders of the system are passed over: {', '.join(passed_over)}")
    if outside:
        notes.append(
            f"{name}: {pluralize(outside, 'track lies', 'tracks lie')} in none of the folders, without a genre"
        )
    return Corpus(name, tuple(tracks), GIVEN if by_split else ASSIGNED, (), tuple(notes))


def folder_splits(ids: Iterable[str]) -> dict[str, str] | None:
    """The split of every track, where all lie in folders that are called `train`, `valid` and so on; else None."""
    paths = {identity: PurePosixPath(identity) for identity in ids}
    if not _are_splits(list(paths.values())) or any(len(path.parts) < 2 for path in paths.values()):
        return None
    return {identity: _split_of(path) for identity, path in paths.items()}


def _are_splits(paths: Sequence[PurePosixPath]) -> bool:
    """Whether the uppermost folders of tracks are splits."""
    tops = {path.parts[0].lower() for path in paths if len(path.parts) > 1}
    named = bool(tops) and tops <= SPLIT_NAMES.keys()
    return named and ("train" in {SPLIT_NAMES[top] for top in tops} or all(len(path.parts) > 2 for path in paths))


def _split_of(path: PurePosixPath) -> str:
    """The split that the uppermost folder of a track is."""
    return SPLIT_NAMES[path.parts[0].lower()]


def are_classes(ids: Iterable[str]) -> bool:
    """Whether the folders of these tracks can only be classes: all lie one level deep, in two folders or more.

    Below `train`, `valid` and `test`, one level more.
    """
    folders = {PurePosixPath(identity).parts[:-1] for identity in ids if system_folder_of(identity) is None}
    depths = {len(parts) for parts in folders}
    splits = {parts[0].lower() for parts in folders if parts}
    if depths == {2}:
        return splits <= SPLIT_NAMES.keys() and len({parts[1] for parts in folders}) > 1
    return depths == {1} and len(folders) > 1 and not splits <= SPLIT_NAMES.keys()
