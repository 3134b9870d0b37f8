"""The checkpoints of one run, as its document lists them: the newest of each name, with its hash where it is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.tracking.artifacts import sha256
from experiments.tracking.files_copy import File, inside

FIELDS = ("name", "path", "bytes", "epoch", "step", "score", "best")

Mark = tuple[Any, ...]


class CheckpointsCopy:
    """What the journal has said of checkpoints so far.

    Args:
        run_dir: the run's folder.
        own: its checkpoints may lie elsewhere; those of somebody else's run are read inside of the folder only.
    """

    def __init__(self, run_dir: Path, own: bool) -> None:
        self._directory, self._own = run_dir, own
        self._entries: dict[str, dict[str, Any]] = {}
        self._hashes: dict[Mark, str] = {}

    def attach(self, listed: Iterable[Mapping[str, Any]]) -> None:
        """Learn the hashes that the database knows."""
        self._hashes |= {_mark(entry): entry["sha256"] for entry in listed if entry.get("sha256")}

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record: its checkpoint is the last one now, and the best one if it says so."""
        entry = {field: record.get(field) for field in FIELDS} | {"last": True}
        for other in self._entries.values():
            other["last"] = False
            other["best"] = other["best"] and not entry["best"]
        self._entries.pop(entry["name"], None)
        self._entries[entry["name"]] = entry

    def is_current(self, record: Mapping[str, Any]) -> bool:
        """Whether no later record has replaced this one's file."""
        entry = self._entries.get(record["name"])
        return entry is not None and _mark(entry) == _mark(record)

    def file(self, record: Mapping[str, Any]) -> File:
        """The file of a record."""
        name, path = record["name"].replace("/", "_"), record["path"]
        if self._own and Path(path).is_absolute():
            return File(name, lambda: open(path, "rb"))
        return inside(self._directory, name, path)

    def hash_all(self) -> None:
        """Learn the hashes that are not known yet, of files that are still there."""
        for entry in self.listed():
            if entry["sha256"] is None:
                with suppress(OSError), self.file(entry).open() as handle:
                    self.hashed(entry, sha256(handle))

    def hashed(self, record: Mapping[str, Any], digest: str | None) -> None:
        """Note the SHA-256 of a record's file; None where it is not known."""
        self._hashes.pop(_mark(record), None)
        if digest is not None:
            self._hashes[_mark(record)] = digest

    def is_listed(self, listed: Iterable[Mapping[str, Any]]) -> bool:
        """Whether a list from the database is this one, but for hashes."""
        return [_mark(entry) for entry in listed] == [_mark(entry) for entry in self._entries.values()]

    def listed(self) -> list[dict[str, Any]]:
        """The list as the run document holds it, oldest first."""
        return [entry | {"sha256": self._hashes.get(_mark(entry))} for entry in self._entries.values()]


def _mark(entry: Mapping[str, Any]) -> Mark:
    return tuple(entry.get(field) for field in ("name", "path", "bytes", "epoch", "step"))
