"""What became of the files of a folder, and the sentences about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from datasets.text import pluralize


@dataclass
class BuildReport:
    """What became of the files.

    Attributes:
        store: Folder of the store.
        written: Tracks added in this run.
        already: Tracks that were in the store before.
        skipped: (id, reason) of files that gave no track, now or in an earlier run.
        changed: Tracks in the store whose file is another one now; the store keeps what it has.
        noted: (id, note) of tracks that hold less than their file promised, or something else than the mean of its
            channels, now or in an earlier run.
        decoded: Files opened in this run.
        seconds: Audio behind the tracks added in this run.
        ignored: Number of files that are not audio, by suffix.
        passed_over: Folders of the system, which were not searched.
    """

    store: Path
    written: int = 0
    already: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)
    decoded: int = 0
    seconds: float = 0.0
    ignored: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)


def common_reasons(report: BuildReport) -> list[tuple[str, int]]:
    """Kinds of reasons why files were skipped, the commonest first."""
    return Counter(reason.split(":")[0] for _, reason in report.skipped).most_common()


def changed_line(report: BuildReport, elsewhere: str) -> str:
    """What to do about files that changed; `elsewhere` says how another store is given."""
    count = len(report.changed)
    return (
        f"{pluralize(count, 'file has', 'files have')} another size or date than when the store was made, for instance "
        f"{report.changed[0]}. The store keeps what it has. To read changed files again give {elsewhere}; if only the "
        f"dates changed, delete {report.store / 'sources.jsonl'}"
    )
