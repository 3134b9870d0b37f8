"""Which runs of a folder had the same settings: one small file a fingerprint, one run key a line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from experiments.tracking.journal import FILE_NAME, parse

DIRECTORY = ".fingerprints"
_TAIL = 256 * 1024  # bytes of a journal in which its end record is looked for


def remember(runs_dir: Path, fingerprint: str, key: str) -> None:
    """Note that the run `key` has these settings."""
    (runs_dir / DIRECTORY).mkdir(exist_ok=True)
    with open(runs_dir / DIRECTORY / fingerprint, "a", encoding="utf-8") as file:
        file.write(f"{key}\n")


def runs_with(runs_dir: Path | str, fingerprint: str) -> list[Path]:
    """Directories of the runs with these settings that are still there, oldest first."""
    try:
        keys = (Path(runs_dir) / DIRECTORY / fingerprint).read_text(encoding="utf-8").split()
    except OSError:
        return []
    runs = [Path(runs_dir).absolute() / key for key in dict.fromkeys(keys)]
    return [run for run in runs if (run / FILE_NAME).is_file()]


def end_of(run_dir: Path) -> dict[str, Any] | None:
    """The end record of a run; None while it runs (again), or when it was killed."""
    with contextlib.suppress(OSError), open(run_dir / FILE_NAME, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL))
        for line in reversed(file.readlines()):
            record = parse(line)
            if record is not None and record["kind"] in ("start", "segment", "end"):
                return record if record["kind"] == "end" else None
    return None
