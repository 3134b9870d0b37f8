"""The one progress bar, on standard error: a bar with the time left on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 60.0

Advance = Callable[..., None]  # (steps=1, weight=None): call it after each step


@contextmanager
def progress(
    what: str, total: int | None, unit: str, *, weight: float | None = None, show: bool = True
) -> Iterator[Advance]:
    """Show how far the block is while it runs.

    Args:
        what: The job, written before the bar.
        total: Number of steps; None where it is not known.
        unit: What is counted, written after the count.
        weight: Of all steps together (bytes, say), where the time left follows it better than the number of steps.
        show: False shows nothing.

    Yields:
        A function to call after every step: `advance()`, or `advance(steps, weight)` for several, of that weight.
    """
    job = _Job(what, total, unit, total if weight is None else weight)
    console = Console(file=sys.stderr)
    if not show or total == 0:
        yield lambda steps=1, weight=None: None
    elif console.is_terminal:
        texts = [TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[count]")]
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Progress(texts[0], BarColumn(), texts[1], *times, console=console, transient=True) as bar:
            task = bar.add_task(what, total=job.weight, count=job.count())
            yield job.advance(lambda: bar.update(task, completed=job.weighed, count=job.count()))
    else:
        yield job.advance(job.line)


@dataclass
class _Job:
    what: str
    total: int | None
    unit: str
    weight: float | None
    done: int = 0
    weighed: float = 0.0
    first: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.printed = time.monotonic()

    def advance(self, draw: Callable[[], None]) -> Advance:
        """What counts steps and then draws."""

        def add(steps: int = 1, weight: float | None = None) -> None:
            self.done, self.weighed = self.done + steps, self.weighed + (steps if weight is None else weight)
            self.first = self.first or (time.monotonic(), self.weighed)
            draw()

        return add

    def count(self) -> str:
        return f"{self.done} {self.unit}" if self.total is None else f"{self.done} of {self.total} {self.unit}"

    def line(self) -> None:
        """Print a line where the last one is a minute old."""
        now = time.monotonic()
        if now - self.printed >= LINE_SECONDS:
            self.printed = now
            print(f"{self.what}: {self.count()}{self.left(now)}", file=sys.stderr, flush=True)

    def left(self, now: float) -> str:
        """The time left by the steps after the first, which often loads or compiles what the others then use."""
        if not self.weight or not self.first or self.weighed <= self.first[1]:
            return ""
        rate = (now - self.first[0]) / (self.weighed - self.first[1])
        return f", {timedelta(seconds=round(rate * max(self.weight - self.weighed, 0)))} left"
