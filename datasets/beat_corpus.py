"""Corpora whose annotations are beats alone: a folder of files of beats, or a long table with a row a beat.

A track is named as its file is, without suffix, or as the table names it. It stands in the corpus without beats where
they cannot be read, so that it is counted and listed.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TextIO

from datasets.beat_cells import BEATS, refused_notes
from datasets.beat_files import FoundBeats, beats_of_list, mended_notes, read_beats
from datasets.corpus import ASSIGNED, Corpus, Track
from datasets.identity import composed
from datasets.splits import hashed_split
from datasets.system_folders import files_below
from datasets.tables import DELIMITERS, CorpusError

SUFFIXES = (".beats", ".beat", ".jams", ".txt", ".csv", ".tsv")  # of two files of one name, the first
INNER = (".beats", ".beat")  # RWC's files are called NAME.BEAT.TXT
TRACK_COLUMNS = ("track", "path", "file", "filename", "track_id", "id")
TIME_COLUMNS = ("time", "seconds")
POSITION_COLUMNS = ("position_in_bar", "position", "beat_position")
LONGEST, MOST_ROWS = 4096, 10_000_000  # characters of a line, rows: a small file can unfold to any size
OTHER_COLUMNS = ("bar", "bar_number", "set")


def corpus_of(name: str, found: Mapping[str, FoundBeats | str]) -> Corpus:
    """The corpus of beats by track, of which those that cannot be read are the reason; split by a rule.

    Raises:
        CorpusError: There are no tracks, or none has beats that can be read.
    """
    read = {track: one for track, one in found.items() if isinstance(one, FoundBeats)}
    unreadable = {track: one for track, one in found.items() if isinstance(one, str)}
    if not read:
        reason = f"; the first reason: {next(iter(unreadable.values()))}" if unreadable else ""
        raise CorpusError(f"{name}: none of {len(found)} annotations of beats can be read{reason}")
    tracks = [
        Track(track, hashed_split(track), {BEATS: one.beats} if isinstance(one, FoundBeats) else {})
        for track, one in found.items()
    ]
    notes = (*mended_notes(read.values()), *refused_notes(unreadable))
    return Corpus(name, tuple(tracks), ASSIGNED, (), notes, unreadable=unreadable)


def read_beat_folder(folder: Path) -> Corpus:
    """Read every file of beats below a folder.

    Raises:
        CorpusError: There is none, or none can be read.
    """
    files = beat_files(folder)
    if not files:
        raise CorpusError(f"{folder}: no files of beats below this folder ({', '.join(SUFFIXES)})")
    return corpus_of(folder.resolve().name, {track: found_in(file) for track, file in files.items()})


def found_in(file: Path) -> FoundBeats | str:
    """The beats of a file, or why it cannot be read."""
    try:
        return read_beats(file)
    except CorpusError as error:
        return str(error)


def beat_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """Files of beats below a folder by the names of their tracks, sorted.

    Raises:
        CorpusError: The folder cannot be listed.
    """
    ranked: dict[str, tuple[int, Path]] = {}
    try:
        paths = sorted(Path(entry.path) for entry in files_below(folder) if entry.is_file(follow_symlinks=False))
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be listed ({error.strerror or error})") from None
    for path in paths:
        if (suffix := path.suffix.lower()) in suffixes:
            stem = path.with_suffix("")
            stem = stem.with_suffix("") if stem.suffix.lower() in INNER else stem
            identity, rank = composed(stem.relative_to(folder).as_posix()), suffixes.index(suffix)
            if identity not in ranked or rank < ranked[identity][0]:
                ranked[identity] = rank, path
    return {identity: path for identity, (_, path) in sorted(ranked.items())}


def is_beat_table(file: Path) -> bool:
    """Whether a file is a long table: its columns are a track and a time, and at most a position and a bar."""
    try:
        with _opened(file) as stream:
            header = _header(stream.readline(LONGEST))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return False
    known = {*TRACK_COLUMNS, *TIME_COLUMNS, *POSITION_COLUMNS, *OTHER_COLUMNS}
    return bool({*header} & {*TRACK_COLUMNS}) and bool({*header} & {*TIME_COLUMNS}) and {*header} <= known


def read_beat_table(file: Path) -> Corpus:
    """Read a long table, a row a beat: CSV or TSV, which may be compressed by gzip.

    Raises:
        CorpusError: It is no such table, or the beats of none of its tracks can be read.
    """
    rows: dict[str, list[tuple[str, str]]] = {}
    try:
        with _opened(file) as stream:
            for number, (track, time, position) in enumerate(_beats(file, stream)):
                if number == MOST_ROWS:
                    raise CorpusError(f"{file}: more than {MOST_ROWS:,} beats; give a table for every corpus")
                rows.setdefault(track, []).append((time, position))
    except (EOFError, zlib.error, UnicodeDecodeError, csv.Error, OSError) as error:
        raise CorpusError(f"{file}: no table of beats that can be read ({error})") from None
    found: dict[str, FoundBeats | str] = {}
    for track, beats in rows.items():
        try:
            found[track] = beats_of_list([one for one in beats if one != ("", "")], f"{file}: {track}")
        except CorpusError as error:
            found[track] = str(error)
    name = file.name.removesuffix(".gz")
    return corpus_of(PurePosixPath(name).stem, found)


def _beats(file: Path, stream: TextIO) -> Iterator[tuple[str, str, str]]:
    """Track, time and position of every row, as they are written."""
    first = stream.readline(LONGEST)
    header = _header(first)
    track, time, position = (
        next((header.index(name) for name in names if name in header), None)
        for names in (TRACK_COLUMNS, TIME_COLUMNS, POSITION_COLUMNS)
    )
    if track is None or time is None:
        there = ", ".join(header) or "nothing"
        raise CorpusError(f"{file}: columns {there}; expected track, time and, where it is known, position_in_bar")
    rows = csv.reader(iter(partial(stream.readline, LONGEST), ""), delimiter=_delimiter(first))
    for cells in rows:
        if len(cells) == len(header):
            beat = cells[time].strip(), "" if position is None else cells[position].strip()
            yield composed(cells[track].strip().replace("\\", "/")), *beat
        elif any(cells):
            raise CorpusError(f"{file}, line {rows.line_num + 1}: {len(cells)} cells, expected {len(header)}")


def _opened(file: Path) -> TextIO:
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _delimiter(first: str) -> str:
    return max(DELIMITERS, key=first.count)


def _header(first: str) -> list[str]:
    return [name.strip().strip('"').casefold() for name in first.split(_delimiter(first))]
