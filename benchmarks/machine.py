"""What a timing is worth: the machine's own matrix rate, and contestants that take turns."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

SIZE = 2048


@dataclass(frozen=True)
class Timing:
    """Seconds of one turn."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Timing:
    """Runs once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def matrix_rate(rounds: int = 5) -> float:
    """Best rate of a 2048-cubed float32 product with the present number of threads, in FLOP/s."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    out = torch.empty(SIZE, SIZE)
    best = min(timed(lambda: torch.mm(a, b, out=out)).wall for _ in range(rounds + 1))
    return 2 * SIZE**3 / best


def cpu_name() -> str:
    """Name of the processor as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe() -> str:
    """One line: processor, threads, instruction set, versions."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu_name()}, {torch.get_num_threads()} threads, {capability}, float32, torch {torch.__version__}"


def race(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Timing]]:
    """Lets contestants take turns, so that what else the machine does meets all of them; one turn each to warm up."""
    timings: dict[str, list[Timing]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, work in contestants.items():
            timing = timed(work)
            if turn:
                timings[name].append(timing)
    return timings


def ratio(timings: Mapping[str, list[Timing]], other: str, ours: str) -> tuple[float, float]:
    """How many times longer `other` takes: medians over the rounds, of wall and of CPU time."""
    pairs = list(zip(timings[other], timings[ours], strict=True))
    wall = statistics.median(theirs.wall / own.wall for theirs, own in pairs)
    return wall, statistics.median(theirs.cpu / own.cpu for theirs, own in pairs)


def report(title: str, timings: Mapping[str, list[Timing]], flops: Mapping[str, float], ours: str, rate: float) -> None:
    """Prints a table.

    Args:
        title: What was done.
        timings: Of every contestant.
        flops: Floating-point operations that each really does in one turn; those without stay blank.
        ours: The contestant that all others are compared with.
        rate: The machine's matrix rate in FLOP/s.
    """
    table = Table(title=title, title_justify="left")
    for column in ("", "wall s, best", "CPU s, best", f"x {ours}, wall", "CPU", "GFLOP", "GFLOP/s", "of the rate"):
        table.add_column(column, justify="left" if not column else "right")
    for name, turns in timings.items():
        wall, cpu = ratio(timings, name, ours)
        best = min(turn.wall for turn in turns)
        row = [name, f"{best:.3f}", f"{min(turn.cpu for turn in turns):.3f}", f"{wall:.2f}", f"{cpu:.2f}"]
        work = flops.get(name)
        row += [f"{work / 1e9:.0f}", f"{work / best / 1e9:.0f}", f"{work / best / rate:.0%}"] if work else [""] * 3
        table.add_row(*row)
    console = Console(width=120)
    console.print(describe())
    console.print(f"measured matrix rate ({SIZE}-cubed float32 product): {rate / 1e9:.0f} GFLOP/s")
    console.print(table)
