"""What long jobs share: a progress bar over parallel calls, files written aside, and CSV text."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from joblib import effective_n_jobs

from datasets import crashes
from datasets.csv_writing import RecordWriter
from datasets.demo.errors import DemoError
from datasets.progress import progress as bar
from datasets.workers import workers


def watched(work: Iterable, count: int, jobs: int, share: int, progress: bool, what: str) -> Iterator:
    """Run delayed calls in processes, and draw how far they are.

    Args:
        jobs: most processes; -1 means one for each core.
        share: calls that are worth the start of a process; fewer run in this one.

    Raises:
        DemoError: a process was killed, or crashed.
    """
    jobs = min(effective_n_jobs(jobs), -(-count // share))
    results = workers(jobs, return_as="generator_unordered")(work)
    with bar(what, count, "files", show=progress) as advance:
        try:
            for result in results:
                yield result
                advance()
        except BrokenProcessPool as error:
            raise DemoError(f"{what}: {crashes.explain(error)}") from error


def write_text(path: Path, text: str) -> None:
    """Write a small file aside, then put it in place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def table(columns: tuple[str, ...], rows: Iterable[Mapping[str, str]]) -> str:
    """Rows -> CSV text."""
    stream = io.StringIO()
    writer = RecordWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
