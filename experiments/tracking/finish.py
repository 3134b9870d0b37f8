"""What is made of a run's files at its end: the series at full resolution, the checkpoints' list, the log's ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.inside import NotInside, open_inside
from datasets.store_files import replace_file
from experiments.tracking.journal import read_points

FINAL = METRICS, CHECKPOINTS, LOG = "metrics.parquet", "checkpoints.json", "run.log"
HEAD, TAIL = 64 * 1024, 192 * 1024  # bytes of the run log that the run document holds
ROWS = 100_000  # points in one row group of the table of metrics


def make_file(name: str, run_dir: Path, checkpoints: Sequence[dict[str, Any]]) -> str | None:
    """Make one of the artifacts of a run's end.

    Args:
        name: one of `FINAL`.
        run_dir: the run's folder.
        checkpoints: the list of them.

    Returns:
        Its path in the folder; None where there is no content.

    Raises:
        OSError: it cannot be written.
    """
    if name == LOG:
        return LOG if os.path.lexists(run_dir / LOG) else None
    path = _files(run_dir) / name
    if name == METRICS:
        return f"files/{METRICS}" if write_metrics(run_dir, path) else None
    if checkpoints:
        replace_file(path, (json.dumps(list(checkpoints), indent=1) + "\n").encode())
    return f"files/{CHECKPOINTS}" if checkpoints else None


def _files(run_dir: Path) -> Path:
    files = run_dir / "files"
    files.mkdir(exist_ok=True)
    if files.is_symlink():
        raise NotInside(f"{files} is a link; nothing is written to where it leads")
    return files


def write_metrics(run_dir: Path, path: Path) -> int:
    """Write every point of every series, in the journal's order, as a Parquet table and return their number.

    Columns: `name` (text), `step` (float64: exact for integers up to 2⁵³), `value` (float64), `time` (unix seconds).
    Nothing is written when there is no point.
    """
    import pyarrow
    from pyarrow import parquet

    kinds = {"name": pyarrow.string(), "step": pyarrow.float64(), "value": pyarrow.float64(), "time": pyarrow.float64()}
    schema = pyarrow.schema(kinds)
    aside, writer, count = path.with_name(f".{path.name}.{os.getpid()}"), None, 0
    try:
        for rows in _rows(run_dir):
            writer = writer or parquet.ParquetWriter(aside, schema, compression="zstd")
            columns = dict(zip(kinds, map(list, zip(*rows, strict=True)), strict=True))
            writer.write_table(pyarrow.table(columns, schema=schema))
            count += len(rows)
        if writer is not None:
            writer.close()
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def log_ends(run_dir: Path) -> str:
    """The first 64 kB and the last 192 kB of a run's log, cut at line ends, with a line on what is missing between.

    Raises:
        OSError: It is no regular file of the run's folder, is missing or cannot be read.
    """
    with open_inside(run_dir, LOG) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= HEAD + TAIL:
            return file.read(HEAD + TAIL).decode("utf-8", "replace")
        head = file.read(HEAD)
        file.seek(size - TAIL)
        tail = file.read(TAIL)
    head = head[: head.rfind(b"\n") + 1] or head
    tail = tail[tail.find(b"\n") + 1 :] or tail
    missing = f"[… {size - len(head) - len(tail)} bytes left out here; the whole log is the artifact run.log …]\n"
    return head.decode("utf-8", "replace") + missing + tail.decode("utf-8", "replace")


def _rows(run_dir: Path) -> Iterator[list[tuple[str, float, float, float]]]:
    rows: list[tuple[str, float, float, float]] = []
    for record in read_points(run_dir):
        name = record["name"]
        rows += [(name, float(step), float(value), float(when)) for step, value, when in record["points"]]
        if len(rows) >= ROWS:
            yield rows
            rows = []
    if rows:
        yield rows
