"""CLMR's augmentations: whole batches on the device, beside one crop after the other as workers of a loader do it.

    python -m benchmarks.augmentation [--batch 96] [--crops 12] [--rounds 5] [--threads 1] [--device cpu] [--steps]

Two views of every crop of 59,049 samples at 22,050 Hz, by the whole chain. One contestant lets SoX shift pitch and
reverberate, as the published code does (if `cysox` is installed, which brings SoX); one does the same in compiled
loops. Both take `--crops` crops a turn, ours takes `--batch`. Ratios are of CPU time for a crop, so that more workers
on more cores change nothing.
On another device than a processor only ours runs. `--steps` times every step of ours by itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import augmentation_reference as reference
from benchmarks.machine import Timing, describe, race
from experiments.configs.clmr_chain import CHAIN
from models.augment import Chain

RATE, SAMPLES = 22_050, 59_049
OURS, SOX, LOOPS = "ours, batched", "SoX, one by one", "compiled loops, one by one"


def music(crops: int) -> Tensor:
    """Chords with some noise, `[crops, samples]`: silence and steady tones might be faster."""
    time = torch.arange(SAMPLES) / RATE
    notes = 55 * 2 ** (torch.randint(0, 60, (crops, 6, 1)) / 12)
    return 0.1 * torch.sin(2 * torch.pi * notes * time).sum(1) + 0.02 * torch.randn(crops, SAMPLES)


def finished(work: Callable[[], Tensor], device: torch.device) -> Callable[[], None]:
    """A function that waits for the device."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def main() -> None:
    """Runs the race and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=96, help="crops of a batch, each of which gives two views")
    parser.add_argument("--crops", type=int, default=12, help="crops of a turn of the others (default: 12)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contestant (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--device", default="cpu", help="of the batches (default: cpu)")
    parser.add_argument("--steps", action="store_true", help="time every step by itself, too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    random.seed(0)

    device = torch.device(arguments.device)
    chain = Chain.build(CHAIN, audio=True, sample_rate=RATE)
    views, crops = music(arguments.batch).repeat(2, 1).to(device), music(arguments.crops)
    contestants = {OURS: finished(lambda: chain.waveforms(views), device)}
    with tempfile.TemporaryDirectory() as folder:
        if device.type == "cpu":
            if importlib.util.find_spec("cysox"):
                contestants[SOX] = partial(one_by_one, crops, Path(folder))
            contestants[LOOPS] = partial(one_by_one, crops, None)
        timings = race(contestants, arguments.rounds)
    console = Console(width=120)
    console.print(describe() if device.type == "cpu" else torch.cuda.get_device_name(device))
    console.print(of_chains(timings, arguments.batch, arguments.crops))
    if arguments.steps:
        console.print(of_steps(views, arguments.rounds, device))


def of_chains(timings: Mapping[str, list[Timing]], batch: int, crops: int) -> Table:
    """The contestants, of which ours augments a batch a turn and the others some crops."""
    table = Table(title=f"Two views of 2.68 s, batches of {batch}", title_justify="left")
    for column in ("", "pairs/s, best", "CPU ms a pair, median", f"x {OURS}"):
        table.add_column(column, justify="left" if not column else "right")
    ours = [timing.cpu / batch for timing in timings[OURS]]
    for name, turns in timings.items():
        pairs = batch if name == OURS else crops
        cpu = [timing.cpu / pairs for timing in turns]
        slower = statistics.median(theirs / own for theirs, own in zip(cpu, ours, strict=True))
        fastest = pairs / min(timing.wall for timing in turns)
        table.add_row(name, f"{fastest:,.0f}", f"{1000 * statistics.median(cpu):.2f}", f"{slower:.1f}")
    return table


def one_by_one(crops: Tensor, folder: Path | None) -> None:
    """Both views of every crop; by SoX where there is a folder for its files."""
    for crop in crops:
        for _ in range(2):
            reference.chain(crop, RATE, folder)


def of_steps(views: Tensor, rounds: int, device: torch.device) -> Table:
    """Every step by itself, with its own probability."""
    steps = {str(step["name"]): Chain.build([step], audio=True, sample_rate=RATE) for step in CHAIN}
    timings = race(
        {name: finished(lambda chain=chain: chain.waveforms(views), device) for name, chain in steps.items()}, rounds
    )
    table = Table(title="Steps of ours, each at its own probability", title_justify="left")
    table.add_column("")
    table.add_column("ms a view, best", justify="right")
    for name, turns in timings.items():
        table.add_row(name, f"{1000 * min(timing.wall for timing in turns) / len(views):.3f}")
    return table


if __name__ == "__main__":
    main()
