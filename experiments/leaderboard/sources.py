"""Where the scores of sweeps are read from: the database of the runs, or their folders on disk.

The child runs of single probes are never read: the database finds the runs that have scores by an index that holds no
others, and a journal on disk is parsed only where its bytes name the scores.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from datasets.inside import open_inside
from experiments.errors import UserError
from experiments.leaderboard.ranking import Sweep
from experiments.probes.records import SCORES, folder_name, read_scores, read_scores_csv

SCORED = "info.scores.task"  # indexed: a run without scores has no such path
IN_TABLE = "info.tracking.changed.info,scores"  # where scores are too many for a run document
FIELDS = ("info.scores", "artifacts", "ostinato.key", "start_time", "meta.group", "config.embeddings")
MARK = b'"info.scores"'
SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}

log = logging.getLogger("ostinato.report")

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """Which runs are read; empty values leave all in.

    Attributes:
        since: Unix time.
        runs: Numbers or keys.
        group: As `tracking.group` had it.
    """

    since: float | None = None
    runs: Sequence[str] = ()
    group: str | None = None

    def __bool__(self) -> bool:
        return self.since is not None or bool(self.runs) or self.group is not None


class RunSource(Protocol):
    """Where sweeps are.

    Attributes:
        place: In words.
    """

    place: str

    def sweeps(self, wanted: Wanted) -> list[Sweep]:
        """The runs with scores."""

    def artifact(self, sweep: Sweep, name: str) -> bytes | None:
        """The content of a file of a run; None where it is missing."""


def moment(text: str | None, now: float | None = None) -> float | None:
    """The unix time that `2026-11-01`, `2026-11-01 18:00` (local time), or an age such as `12h`, `7d`, `2w` means.

    Raises:
        UserError: It means none.
    """
    if text is None:
        return None
    if age := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hdw])", text.strip()):
        return (time.time() if now is None else now) - float(age[1]) * SECONDS[age[2]]
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise UserError(
            f"report.since={text}: expected a date such as 2026-11-01, or an age such as 12h, 7d or 2w"
        ) from None


class DatabaseSource:
    """Sweeps in MongoDB.

    Args:
        database: Of the runs.
        place: What it is called.
    """

    def __init__(self, database: Any, place: str):
        self._database, self.place = database, place

    def sweeps(self, wanted: Wanted) -> list[Sweep]:
        """The runs with scores.

        Raises:
            UserError: The database does not answer or cannot be read.
        """
        from pymongo.errors import PyMongoError

        from experiments.tracking.faults import reason_of

        try:
            self._ensure_index()
            return [sweep for found in self._find(wanted) if (sweep := self._sweep(found)) is not None]
        except PyMongoError as error:
            raise UserError(
                f"{self.place} cannot be read ({reason_of(error)}); "
                "report.source=disk reads the folders of runs instead"
            ) from error

    def artifact(self, sweep: Sweep, name: str) -> bytes | None:
        """The content of a file of a run; None where it is missing, or not whole."""
        from pymongo.errors import PyMongoError

        from experiments.tracking import artifacts

        identity = sweep.artifacts.get(name)
        if identity is None:
            return None
        try:
            entry = self._database["fs.files"].find_one({"_id": identity}, {"length": 1})
            content = artifacts.get(self._database, identity) if entry else b""
        except PyMongoError as error:
            log.warning("%s of run %s cannot be read: %s", name, sweep.name, error)
            return None
        return content if entry and len(content) == entry["length"] else None

    def _ensure_index(self) -> None:
        from pymongo.errors import OperationFailure

        try:
            for path in (SCORED, IN_TABLE):
                self._database["runs"].create_index([(path, 1)], sparse=True)
        except OperationFailure as error:
            log.info("no index of scores could be made (%s): all runs are looked through", error)

    def _find(self, wanted: Wanted) -> Iterator[dict[str, Any]]:
        where: dict[str, Any] = {"$or": [{SCORED: {"$exists": True}}, {IN_TABLE: {"$exists": True}}]}
        if wanted.since is not None:
            start = datetime.datetime.fromtimestamp(wanted.since, datetime.UTC).replace(tzinfo=None)
            where["start_time"] = {"$gte": start}
        if wanted.runs:
            numbers = [int(run) for run in wanted.runs if run.isdigit()]
            where["$and"] = [{"$or": [{"_id": {"$in": numbers}}, {"ostinato.key": {"$in": list(wanted.runs)}}]}]
        if wanted.group is not None:
            where["meta.group"] = wanted.group
        return self._database["runs"].find(where, dict.fromkeys(FIELDS, 1)).sort("_id", 1)

    def _sweep(self, found: dict[str, Any]) -> Sweep | None:
        started = found.get("start_time")
        when = started.replace(tzinfo=datetime.UTC).timestamp() if isinstance(started, datetime.datetime) else 0.0
        key = (found.get("ostinato") or {}).get("key") or str(found["_id"])
        files = {entry["name"]: entry["file_id"] for entry in found.get("artifacts") or ()}
        rows = (found.get("info") or {}).get("scores")
        sweep = Sweep(key, found["_id"], when, files, (), _folder(found))
        return _with_scores(sweep, rows, None if rows is not None else self.artifact(sweep, SCORES))


class DiskSource:
    """Sweeps in the folders of runs.

    Args:
        runs_dir: Folder of folders with a journal each.
    """

    def __init__(self, runs_dir: Path):
        self._runs_dir, self.place = runs_dir, f"the runs in {runs_dir}"

    def sweeps(self, wanted: Wanted) -> list[Sweep]:
        """The runs with scores.

        Raises:
            UserError: The folder does not exist.
        """
        if not self._runs_dir.is_dir():
            raise UserError(f"{self._runs_dir}: no such folder of runs; set tracking.runs_dir")
        found = []
        for path in sorted(self._runs_dir.glob("*/journal.jsonl")):
            if wanted.runs and path.parent.name not in wanted.runs:
                continue
            sweep = self._sweep(path, wanted)
            if sweep is not None and (wanted.since is None or sweep.started >= wanted.since):
                found.append(sweep)
        return found

    def artifact(self, sweep: Sweep, name: str) -> bytes | None:
        """The content of a file of a run; None where it is missing, or lies elsewhere."""
        try:
            with open_inside(self._runs_dir / sweep.key, sweep.artifacts[name]) as file:
                return file.read()
        except (KeyError, OSError):
            return None

    def _sweep(self, path: Path, wanted: Wanted) -> Sweep | None:
        try:
            return self._from_journal(path, wanted)
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error.strerror or error)
        except (AttributeError, LookupError, TypeError, OverflowError) as error:
            log.warning("%s is left out: not as a run writes it (%s: %s)", path, type(error).__name__, error)
        return None

    def _from_journal(self, path: Path, wanted: Wanted) -> Sweep | None:
        records = list(_marked(path))
        if not records:
            return None
        document = records[0].get("document") or {}
        if wanted.group is not None and (document.get("meta") or {}).get("group") != wanted.group:
            return None
        scores: Any = []
        files = {}
        for record in records:
            if record["kind"] == "artifact" and record.get("file"):
                files[record["name"]] = record["file"]
            scores = (record.get("set") or {}).get("info.scores", scores)
        started = document.get("start_time")
        when = started if isinstance(started, int | float) else path.stat().st_mtime
        return _with_scores(Sweep(path.parent.name, None, float(when), files, (), _folder(document)), scores)


def _marked(path: Path) -> Iterator[dict[str, Any]]:
    """The start, the scores and the files of a journal that has scores; nothing of another."""
    lines, has_scores = [], False
    with open_inside(path.parent, path.name) as file:
        for line in file:
            head = line[:80]
            if b'"kind": "start"' in head or b'"kind": "artifact"' in head:
                lines.append(line)
            elif b'"kind": "info"' in head and MARK in line:
                lines.append(line)
                has_scores = True
    for line in lines if has_scores else ():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # torn by a kill, or made to do harm
            continue
        if isinstance(record, dict) and "kind" in record:
            yield record


def _folder(document: Mapping[str, Any]) -> str:
    """The folder of the stores that a run probed without giving their encoder a name; empty where it has one."""
    probed = (document.get("config") or {}).get("embeddings") or {}
    store = probed.get("store")
    return folder_name(store) if isinstance(store, str) and not probed.get("name") else ""


def _with_scores(sweep: Sweep, rows: Any, table: bytes | None = None) -> Sweep | None:
    """The run with its rows, or those of its table; None, with a warning, where they cannot be read."""
    try:
        if table is not None:
            return replace(sweep, scores=from_bytes(read_scores_csv, table))
        return replace(sweep, scores=read_scores(rows if isinstance(rows, list) else []))
    except (UserError, AttributeError) as error:
        log.warning("run %s is left out: %s", sweep.name, error)
        return None


def from_bytes(read: Callable[[Path], T], content: bytes) -> T:
    """What a reader of files makes of bytes."""
    with tempfile.TemporaryDirectory(prefix="ostinato-") as folder:
        path = Path(folder) / "content"
        path.write_bytes(content)
        return read(path)
