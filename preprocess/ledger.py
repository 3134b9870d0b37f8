"""The tables beside a store: which files are not in it, or only in part, and why; what its tracks are computed from."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from datasets.csv_writing import TableWriter, bare
from datasets.store_files import StoreError, open_file, remove_asides, replace_file
from preprocess.files import AudioFiles, Candidate
from preprocess.sources import NO_FFMPEG, UNREADABLE, AudioError

SAVING, LATEST = 20.0, 5.0  # times as long as the last saving took, at most so many seconds, until the next one


@dataclass(frozen=True, order=True)
class Skipped:
    """A file that gave no track; `bytes` and `mtime_ns` tell whether it has changed since."""

    id: str
    reason: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, order=True)
class Noted:
    """A track that holds less than its file promised, or something else than the mean of its channels."""

    id: str
    note: str


class Ledger:
    """What became of the files that are not simply in the store; one process has it at a time (`filling.alone`).

    Attributes:
        skipped: Rows of `skipped.csv` by id.
        noted: Rows of `notes.csv` by id.
        sources: Size and time of change of the files that tracks were computed from, by id; lines of `sources.jsonl`.

    Raises:
        AudioError: A table was changed into something else.
        StoreError: A table is a link or no plain file.
    """

    def __init__(self, store_dir: Path) -> None:
        self.skipped_path, self.noted_path = store_dir / "skipped.csv", store_dir / "notes.csv"
        remove_asides(store_dir, f"{self.skipped_path.name}|{self.noted_path.name}")
        self.skipped: dict[str, Skipped] = {row.id: row for row in _read(self.skipped_path, Skipped)}
        self.noted: dict[str, Noted] = {row.id: row for row in _read(self.noted_path, Noted)}
        self.sources_path = store_dir / "sources.jsonl"
        self.sources = _read_sources(self.sources_path)
        self._changed = self._kept_changed = False
        self._next_save = time.monotonic()

    def settled(self, file: Candidate) -> bool:
        """True if the file was skipped before and would be again: it is the same, and no help has come.

        A file that could not be read is tried again: rights and disks are mended without a change of the file.
        """
        row = self.skipped.get(file.id)
        same = row is not None and row.bytes >= 0 and (row.bytes, row.mtime_ns) == (file.bytes, file.mtime_ns)
        return same and UNREADABLE not in row.reason and not (NO_FFMPEG in row.reason and shutil.which("ffmpeg"))

    def changed(self, file: Candidate) -> bool:
        """True if the file is not the one its track was computed from; False where that is not known."""
        known = self.sources.get(file.id)
        return known is not None and file.bytes >= 0 and known != (file.bytes, file.mtime_ns)

    def remember(self, files: Iterable[Candidate]) -> None:
        """Note what tracks are computed from, at once: a table of every track is too long to be written again."""
        known = {file.id: (file.bytes, file.mtime_ns) for file in files if file.bytes >= 0}
        if known:
            text = "".join(f"{json.dumps([id, *state])}\n" for id, state in known.items())
            with open(open_file(self.sources_path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab+") as lines:
                if lines.tell() and not _ends_a_line(lines):  # of a process that was killed
                    lines.write(b"\n")
                lines.write(text.encode())
        self.sources |= known

    def skip(self, file: Candidate, reason: str) -> None:
        """Enter a file that gave no track."""
        self.skipped[file.id] = Skipped(file.id, reason, file.bytes, file.mtime_ns)
        self._changed = True

    def keep(self, file: Candidate, notes: Sequence[str]) -> None:
        """Enter a file that gives a track: it is not skipped any more; call it before its track is stored."""
        before = self.skipped.pop(file.id, None), self.noted.pop(file.id, None)
        if notes:
            self.noted[file.id] = Noted(file.id, "; ".join(notes))
        if before != (None, self.noted.get(file.id)):
            self._changed = self._kept_changed = True

    def list_folders(self, found: AudioFiles) -> None:
        """Enter folders that could not be listed, and drop skipped files and folders that are not there any more."""
        gone = found.gone(self.skipped)
        for id in gone:
            del self.skipped[id]
        for id, reason in found.unlisted.items():
            self.skip(Candidate(id, Path(id)), reason)
        self._changed |= bool(gone)

    def save(self) -> None:
        """Put the tables in the place of the old ones; an empty one is not kept."""
        if self._changed:
            began = time.monotonic()
            _write(self.skipped_path, Skipped, self.skipped.values())
            _write(self.noted_path, Noted, self.noted.values())
            now = time.monotonic()
            self._next_save = now + min(SAVING * (now - began), LATEST)
        self._changed = self._kept_changed = False

    def save_kept(self) -> None:
        """Save what the tables say of files that give a track, if they say anything new: needed before it is stored."""
        if self._kept_changed:
            self.save()

    def save_in_time(self) -> None:
        """Save, unless that would be too often for tables as long as these."""
        if time.monotonic() >= self._next_save:
            self.save()


def _read(path: Path, kind: type[Skipped] | type[Noted]) -> list:
    names = [field.name for field in fields(kind)]
    try:
        with open(open_file(path), newline="", encoding="utf-8") as file:
            head, *lines = csv.reader(file)
        if head != names:
            raise ValueError(f"its columns are {head}, not {names}")
        return [kind(*map(bare, line[:2]), *map(int, line[2:])) for line in lines]
    except FileNotFoundError:
        return []
    except StoreError:
        raise
    except (TypeError, ValueError, OSError, csv.Error) as error:
        raise AudioError(path, f"damaged table ({error}): delete it, and its files are tried again") from error


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _read_sources(path: Path) -> dict[str, tuple[int, int]]:
    """The last line of a track counts; one that a killed process left cut short tells nothing."""
    found = {}
    with (
        suppress(FileNotFoundError),
        open(open_file(path), encoding="utf-8", errors="replace", newline="\n") as lines,
    ):
        for line in lines:
            with suppress(ValueError, TypeError, RecursionError):
                id, size, mtime_ns = json.loads(line)
                if (type(id), type(size), type(mtime_ns)) == (str, int, int):
                    found[id] = (size, mtime_ns)
    return found


def _write(path: Path, kind: type[Skipped] | type[Noted], rows: Iterable[Skipped] | Iterable[Noted]) -> None:
    rows = sorted(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = TableWriter(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])
    writer.writerows(map(astuple, rows))
    replace_file(path, text.getvalue().encode())
