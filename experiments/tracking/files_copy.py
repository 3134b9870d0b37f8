"""The files of one run in a database: their contents in GridFS, their names in the run document.

The list of names is one array, which the database writes anew whenever a name joins it. Files are therefore gathered,
stored together, and named together once the list grows by a part of itself, so that many cost as much each as few do.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bson import ObjectId
from pymongo.database import Database

from datasets.inside import open_inside
from experiments.tracking import artifacts

GATHERED_BYTES, GATHERED = 4 * 2**20, 500  # contents in memory before they are stored
SHORT = 1000  # names: a list up to here is written for each new name
GROWTH = 1 / 16  # of a longer list, by which it grows before it is written
LATEST = 10.0  # s after which a longer list is written all the same
RENAMED = 100  # names that get another content in one update
LIST_BYTES = 10 * 2**20  # of the run document that the list may take; MongoDB allows 16 MB for all of it
ENTRY_BYTES = 60  # of an entry besides its name


@dataclass(frozen=True)
class File:
    """A file that the journal names.

    Attributes:
        name: in the run browser.
        open: opens it.
    """

    name: str
    open: Callable[[], BinaryIO]


class FilesCopy:
    """Gathers the files that a journal names and brings them into the database.

    Args:
        warn: called with the name of a file that is not listed, and why.
    """

    def __init__(self, warn: Callable[[str, str], None]):
        self._warn = warn
        self._named: dict[str, File] = {}  # what the journal says, the newest of each name
        self._sent: dict[str, ObjectId] = {}  # what was sent since this object was made
        self._listed: dict[str, ObjectId] = {}  # what the run document says
        self._bytes = 0  # of the list in the run document
        self._gathered: dict[str, tuple[str, bytes]] = {}  # SHA-256 -> name, content
        self._gathered_bytes = 0
        self._written = time.monotonic()

    @property
    def is_waiting(self) -> bool:
        """Whether files are gathered that the database does not hold or list yet."""
        return bool(self._gathered or self._unlisted())

    def attach(self, listed: Iterable[Mapping[str, Any]], known: bool) -> None:
        """Learn what the run document lists; a database that does not know the run gets everything again."""
        self._see(listed)
        if not known:
            self._sent.clear()

    def name(self, file: File) -> bool:
        """Note what the journal says, and whether the database lists a file of that name."""
        self._named[file.name] = file
        return file.name in self._listed

    def add(self, database: Database, file: File, digest: str | None = None) -> None:
        """Send a file that the journal names: gather a small one, store a large one.

        Args:
            digest: its SHA-256 when known.

        Raises:
            OSError: it cannot be read.
            FileChanged: it was written to meanwhile.
            pymongo.errors.PyMongoError: the database failed.
        """
        self._named[file.name] = file
        self._sent[file.name] = self.add_content(database, file, digest)

    def add_content(self, database: Database, file: File, digest: str | None = None) -> ObjectId:
        """`add` for a file that is no artifact, like a source; gives its id."""
        with file.open() as handle:
            content = handle.read(artifacts.CHUNK + 1)
            if len(content) > artifacts.CHUNK:
                return artifacts.put(database, handle, file.name, digest)
        found = hashlib.sha256(content).hexdigest()
        if digest not in (None, found):
            raise artifacts.FileChanged(f"{file.name} changed while it was stored")
        self._gathered[found] = file.name, content
        self._gathered_bytes += len(content)
        if self._gathered_bytes > GATHERED_BYTES or len(self._gathered) >= GATHERED:
            self.store(database)
        return artifacts.file_id(found)

    def store(self, database: Database) -> None:
        """Store what was gathered."""
        if self._gathered:
            artifacts.put_small(database, self._gathered)
            self._gathered.clear()
            self._gathered_bytes = 0

    def flush(self, database: Database, run_id: Any, everything: bool) -> None:
        """Store what was gathered, and list it.

        Args:
            everything: False leaves a long list alone that has grown by little.
        """
        self.store(database)
        waiting = self._unlisted()
        due = len(self._listed) <= SHORT or len(waiting) >= GROWTH * len(self._listed)
        if waiting and (everything or due or time.monotonic() - self._written > LATEST):
            self._list(database, run_id, waiting)
            self._written = time.monotonic()

    def verify(self, database: Database, run_id: Any, others: Mapping[ObjectId, File]) -> None:
        """Compare what the database holds with what the journal names, and send what it lacks.

        Args:
            others: further contents that must be there: id -> file.
        """
        found = database["runs"].find_one({"_id": run_id}, {"artifacts": 1}) or {}
        self._see(found.get("artifacts") or ())
        contents = dict(others)
        for name, file in self._named.items():
            try:
                if name not in self._sent:
                    with file.open() as handle:
                        self._sent[name] = artifacts.file_id(artifacts.sha256(handle))
            except OSError:  # it is not here any more: what is listed stays
                continue
            contents[self._sent[name]] = file
        for identity in artifacts.incomplete(database, contents.keys()):
            artifacts.forget(database, identity)
            file = contents[identity]
            try:
                with file.open() as handle:
                    artifacts.put(database, handle, file.name)
            except (OSError, artifacts.FileChanged) as error:
                self._warn(file.name, str(error))
        self.flush(database, run_id, everything=True)

    def _see(self, listed: Iterable[Mapping[str, Any]]) -> None:
        self._listed = {entry["name"]: entry.get("file_id") for entry in listed if "name" in entry}
        self._bytes = sum(len(name.encode()) + ENTRY_BYTES for name in self._listed)

    def _unlisted(self) -> dict[str, ObjectId]:
        return {name: identity for name, identity in self._sent.items() if self._listed.get(name) != identity}

    def _list(self, database: Database, run_id: Any, waiting: Mapping[str, ObjectId]) -> None:
        runs = database["runs"]
        new = self._fitting({name: identity for name, identity in waiting.items() if name not in self._listed})
        if new:
            entries = [{"name": name, "file_id": identity} for name, identity in new.items()]
            where = {"_id": run_id, "artifacts.name": {"$nin": list(new)}}
            if not runs.update_one(where, {"$push": {"artifacts": {"$each": entries}}}).matched_count:
                found = runs.find_one({"_id": run_id}, {"artifacts": 1})  # another process listed some of them
                if found is None:
                    return
                self._see(found.get("artifacts") or ())
                self._list(database, run_id, self._unlisted())
                return
        changed = [(name, identity) for name, identity in waiting.items() if name in self._listed]
        for first in range(0, len(changed), RENAMED):
            batch = changed[first : first + RENAMED]
            change = {f"artifacts.$[a{n}].file_id": identity for n, (_, identity) in enumerate(batch)}
            filters = [{f"a{n}.name": name} for n, (name, _) in enumerate(batch)]
            runs.update_one({"_id": run_id}, {"$set": change}, array_filters=filters)
        before = {self._listed[name] for name, _ in changed} - {None, *self._sent.values()}
        self._listed |= new | dict(changed)
        self._bytes += sum(len(name.encode()) + ENTRY_BYTES for name in new)
        artifacts.delete_unused(database, before)

    def _fitting(self, new: Mapping[str, ObjectId]) -> dict[str, ObjectId]:
        """Those of the names for which the run document has room; the others are left out for good."""
        fitting, size = {}, self._bytes
        for name, identity in new.items():
            size += len(name.encode()) + ENTRY_BYTES
            if size > LIST_BYTES:
                self._warn("artifacts", f"{name} and later ones are not listed: a run document has no room for more")
                del self._sent[name]
            else:
                fitting[name] = identity
        return fitting


def inside(folder: Path, name: str, path: str) -> File:
    """The file at `path` in a run's folder."""
    return File(name, lambda: open_inside(folder, path))
