"""What a timing is worth: the best that the machine's kernels reach, and contestants that take turns."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from models.kernels.mode import using
from models.kernels.products import times_transposed

Shape = tuple[int, int, int]  # rows, inputs and outputs of a product
SHAPES: tuple[Shape, ...] = ((2048, 2048, 2048), (1685, 768, 2304), (1685, 768, 3072), (1685, 3072, 768))  # MAEST's


@dataclass(frozen=True)
class Roof:
    """The highest rate that any kernel here reaches with any of some products.

    Attributes:
        rate: FLOP/s.
        kernel: Which.
        shape: Of the product.
        dtype: Of its factors.
    """

    rate: float
    kernel: str
    shape: Shape
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        kind, size = str(self.dtype).removeprefix("torch."), " x ".join(map(str, self.shape))
        return f"roof in {kind}: {self.rate / 1e9:.0f} GFLOP/s, by {self.kernel} for {size}"


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


def roof(
    dtype: torch.dtype = torch.float32, shapes: Sequence[Shape] = SHAPES, rounds: int = 5, device: str = "cpu"
) -> Roof:
    """The best of all kernels with the present number of threads; on another device, PyTorch's alone.

    Args:
        dtype: float32, or bfloat16 with sums in float32.
        shapes: Of the products.
        rounds: Turns of every kernel, beside one to warm up; the fastest counts.
        device: Where it computes.
    """
    found = []
    for shape in shapes:
        for name, work in _kernels(shape, dtype, device).items():
            seconds = min(timed(work).wall for _ in range(rounds + 1))
            found.append(Roof(2 * float(np.prod(shape)) / seconds, name, shape, dtype))
    return max(found, key=lambda one: one.rate)


def _kernels(shape: Shape, dtype: torch.dtype, device: str) -> dict[str, Callable[[], object]]:
    """A layer of these inputs and outputs, without bias, by everything that can compute it."""
    rows, inputs, outputs = shape
    x, weight = (torch.randn(size, device=device).to(dtype) for size in ((rows, inputs), (outputs, inputs)))
    kernels: dict[str, Callable[[], object]] = {"PyTorch's linear layer": lambda: F.linear(x, weight)}
    if device != "cpu":
        return {"PyTorch": lambda: (F.linear(x, weight), torch.cuda.synchronize())}
    image, filters = x.view(1, 1, rows, inputs).permute(0, 3, 1, 2), weight[:, :, None, None]
    kernels["a convolution"] = lambda: F.conv2d(image, filters)
    if torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        kernels["oneDNN"] = lambda: times_transposed(x, weight)
        kernels["oneDNN, packed weights"] = lambda: times_transposed(x, packed)
    if dtype == torch.float32:
        factors = x.numpy(), weight.numpy().T
        kernels["numpy"] = lambda: np.matmul(*factors)
    return kernels


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
    threads = f"{torch.get_num_threads()} threads"
    return f"{cpu_name()}, {threads}, {capability}, float32 unless said, torch {torch.__version__}"


def by_pytorch(make: Callable[[], Callable[[], object]]) -> Callable[[], object]:
    """What is made, with PyTorch's own kernels alone as it is made and whenever it runs."""
    with using("torch"):
        work = make()
    return using("torch")(work)


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


def report(
    title: str,
    timings: Mapping[str, list[Timing]],
    flops: Mapping[str, float],
    ours: str,
    best: Roof,
    others: Mapping[str, Roof] | None = None,
) -> None:
    """Prints a table.

    Args:
        title: What was done.
        timings: Of every contestant.
        flops: Floating-point operations that each really does in one turn; those without stay blank.
        ours: The contestant that all others are compared with.
        best: The roof.
        others: That of contestants that compute in another type.
    """
    table = Table(title=title, title_justify="left")
    for column in ("", "wall s, best", "CPU s, best", f"x {ours}, wall", "CPU", "GFLOP", "GFLOP/s", "of the roof"):
        table.add_column(column, justify="left" if not column else "right")
    for name, turns in timings.items():
        wall, cpu = ratio(timings, name, ours)
        seconds, own = min(turn.wall for turn in turns), (others or {}).get(name, best)
        row = [name, f"{seconds:.3f}", f"{min(turn.cpu for turn in turns):.3f}", f"{wall:.2f}", f"{cpu:.2f}"]
        work = flops.get(name)
        row += (
            [f"{work / 1e9:.0f}", f"{work / seconds / 1e9:.0f}", f"{work / seconds / own.rate:.0%}"]
            if work
            else [""] * 3
        )
        table.add_row(*row)
    console = Console(width=120)
    console.print(describe())
    for one in dict.fromkeys([best, *(others or {}).values()]):
        console.print(str(one))
    console.print(table)
