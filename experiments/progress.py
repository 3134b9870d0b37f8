"""Progress with the time left, on standard error: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 60.0


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Show how far the block is while it runs.

    Args:
        what: Said before the bar.
        total: Number of steps.
        unit: Said after the count.

    Yields:
        A function to call after every step.
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _lines(what, total, unit)
        return
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=total == 0) as bar:
        shown = bar.add_task(what, total=total)
        yield lambda: bar.advance(shown)


def _lines(what: str, total: int, unit: str) -> Callable[[], None]:
    done, began = 0, time.monotonic()
    said = began

    def advance() -> None:
        nonlocal done, said
        done, now = done + 1, time.monotonic()
        if now - said >= LINE_SECONDS:
            said = now
            left = timedelta(seconds=round((now - began) / done * (total - done)))
            print(f"{what}: {done} of {total} {unit}, {left} left", file=sys.stderr, flush=True)

    return advance
