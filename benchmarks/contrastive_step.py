"""A training step of CLMR's SampleCNN, TUNe and TUNe+, beside the same layers in plain PyTorch.

    python -m benchmarks.contrastive_step [--networks clmr,tune,tune_plus] [--batch 96] [--rounds 3] [--threads 1]
                                          [--device cpu] [--parts]

A step takes two crops of each of `--batch` clips, augments them by the whole chain of CLMR, runs the network on one
view after the other, projects, and is NT-Xent, backward and Adam. Ours goes through the loader of a store and the
Learner, in float32 and in mixed precision. The others are convolution, batch norm, ReLU and max-pooling one after the
other, eager and in float32, with the same weights: with crops that are read and augmented one by one, and without, on a
batch that is ready, which compares the networks alone. Losses are compared before anything is timed.

All take turns; ratios are medians over the rounds. On a processor they are of CPU time as well, so that other work on
the machine changes little. The work is counted as three forward passes of each view. `--parts` tells what our step
consists of. Memory is the most that a process of its own takes above its start.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from benchmarks import augmentation_reference as reference
from benchmarks.contrastive_plain import plain_nt_xent, plainly
from benchmarks.machine import Roof, Timing, describe, race, ratio, roof, timed
from benchmarks.taggers import resident
from datasets.clips import RandomCrops
from datasets.samplers import EpochSampler
from datasets.store import Header, Store, StoreWriter
from experiments.configs.clmr_chain import CHAIN
from experiments.objectives import Contrastive
from experiments.settings.training import OptimizerSettings
from experiments.training.learner import Learner
from experiments.training.optimizers import make_optimizer
from experiments.training.phases import Phase
from models.augment import Chain
from models.clmr import CLMR
from models.inputs import Inputs
from models.losses.nt_xent import nt_xent
from models.network_input import own_frontend
from models.projection import Projection
from models.tune import TUNe

RATE, SAMPLES, CLIP = 22_050, 59_049, 220_500  # Hz; of a crop; of a clip
OURS, MIXED, PLAIN, ALONE = "ours, float32", "ours, bf16-mixed", "plain", "plain, on a ready batch"
NETWORKS: Mapping[str, Callable[[], CLMR | TUNe]] = {
    "clmr": partial(CLMR, n_classes=0),
    "tune": partial(TUNe, n_classes=0),
    "tune_plus": partial(TUNe, n_classes=0, connections=True),
}
ADAM = OptimizerSettings(name="adam", lr=3e-4, weight_decay=0.0, schedule_mode="constant")
NEAR = 1e-4  # largest difference of two losses
Step = Callable[[], Tensor]


def make_corpus(folder: Path, clips: int) -> None:
    """Chords with some noise, as a store and as one WAV file a clip."""
    rng = np.random.default_rng(0)
    times = np.arange(CLIP) / RATE
    with StoreWriter(folder / "store", Header("audio", (), "int16")) as writer:
        for number in range(clips):
            notes = 55 * 2 ** (rng.integers(0, 60, (6, 1)) / 12)
            clip = 0.1 * np.sin(2 * np.pi * notes * times).sum(0) + 0.02 * rng.standard_normal(CLIP)
            samples = (clip * 32_767).clip(-32_768, 32_767).astype(np.int16)
            writer.append(f"{number:03}.wav", samples)
            soundfile.write(folder / f"{number:03}.wav", samples, RATE)


def endless(loader: DataLoader) -> Iterator[dict[str, Any]]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def pairs(folder: Path, batch: int) -> Iterator[dict[str, Any]]:
    """Batches as a training reads them, `x [batch, 2, samples]` in int16."""
    store = Store(folder / "store")
    crops = RandomCrops(store, store.ids, None, SAMPLES, views=2)
    return endless(DataLoader(crops, batch, sampler=EpochSampler(np.ones(len(store.ids)), batch), drop_last=True))


def one_by_one(folder: Path, batch: int) -> Tensor:
    """A batch `[batch, 2, samples]` whose crops are read and augmented one after the other."""
    views = []
    for number in range(2 * batch):
        start = random.randrange(CLIP - SAMPLES + 1)
        crop, _ = soundfile.read(folder / f"{number // 2:03}.wav", SAMPLES, start, dtype="float32")
        views.append(reference.chain(torch.from_numpy(crop), RATE))
    return torch.stack(views).unflatten(0, (batch, 2))


def learner_of(network: CLMR | TUNe, project: Projection, device: torch.device) -> Learner:
    """As a pre-training makes it."""
    objective = Contrastive(project.layers[0].in_features)
    objective.project.load_state_dict(project.state_dict())
    inputs, chain = Inputs(own_frontend(network), 0.0, 0.5, audio=True), Chain.build(CHAIN, True, RATE)
    return Learner(network, inputs, objective, {}, [Phase(ADAM)], chain).to(device)


def ours(learner: Learner, batches: Iterator[dict[str, Any]], mixed: bool, device: torch.device) -> Step:
    """A step of a Learner; `mixed` is `trainer.precision=bf16-mixed`."""
    optimizer = make_optimizer(learner.net, ADAM, True, learner.inputs, learner.objective)

    def run() -> Tensor:
        batch = {"x": next(batches)["x"].to(device, non_blocking=True)}
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            batch = learner.prepared(batch, learner.augmentations)
            loss = learner.objective.loss(learner.net, batch)["loss"]
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def plain(network: nn.Module, project: Projection, batch: Callable[[], Tensor], device: torch.device) -> Step:
    """A step of the plain modules, one view after the other."""
    network, project = network.to(device), project.to(device)
    optimizer = torch.optim.Adam([*network.parameters(), *project.parameters()], lr=ADAM.lr)

    def run() -> Tensor:
        first, second = batch().to(device).unbind(1)
        optimizer.zero_grad()
        loss = plain_nt_xent(project(network(first)), project(network(second)))
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def contestants(name: str, folder: Path, batch: int, device: torch.device, compiled: bool) -> dict[str, Step]:
    """What each does in its turn.

    Raises:
        SystemExit: Losses on the same crops differ.
    """
    torch.manual_seed(0)
    random.seed(0)
    network = NETWORKS[name]()
    project = Projection(512)
    ready = next(pairs(folder, batch))["x"].float() / 32_768
    found: dict[str, Step] = {}
    for title in (OURS, MIXED):
        learner = learner_of(copy.deepcopy(network), project, device).train()
        if compiled and title == MIXED:
            learner.net.compile_parts()
        found[title] = ours(learner, pairs(folder, batch), title == MIXED, device)
    found[PLAIN] = plain(plainly(network), copy.deepcopy(project), lambda: one_by_one(folder, batch), device)
    found[ALONE] = plain(plainly(network), copy.deepcopy(project), lambda: ready, device)
    with torch.no_grad():
        few = ready[:4].to(device)
        theirs, head = plainly(network).to(device), copy.deepcopy(project).to(device)
        wanted = plain_nt_xent(*(head(theirs(view)) for view in few.unbind(1)))
    fresh = learner_of(network, project, device).train()
    same = fresh.objective.loss(fresh.net, {"x": few})["loss"].detach()
    print(f"{name}: losses on the same crops {float(same):.6f} and {float(wanted):.6f}")
    if abs(float(same - wanted)) > NEAR:
        raise SystemExit(f"{name}: the losses differ by more than {NEAR}")
    return found


def finished(step: Step, device: torch.device) -> Callable[[], None]:
    """A step that waits for the device."""

    def run() -> None:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def core_roof(rounds: int) -> Roof:
    """The best of all kernels on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return roof(rounds=rounds)
    finally:
        torch.set_num_threads(threads)


def table(name: str, timings: Mapping[str, list[Timing]], batch: int, rate: float | None) -> Table:
    """Times, and how they compare.

    Args:
        name: Of the network.
        timings: Of every contestant.
        batch: Pairs of a step.
        rate: Of a core, FLOP/s; None on another device.
    """
    flops = 2 * 3 * 2 * batch * NETWORKS[name]().macs((SAMPLES,))
    shown = Table(title=f"{name}: training step, {batch} pairs", title_justify="left")
    for column in ("", "wall s, best", "pairs/s", "CPU s, best", f"x {OURS}, wall", "CPU", "of the roof"):
        shown.add_column(column, justify="left" if not column else "right")
    for title, turns in timings.items():
        wall, cpu = min(turn.wall for turn in turns), min(turn.cpu for turn in turns)
        ratios = [f"{one:.2f}" for one in ratio(timings, title, OURS)]
        share = f"{flops / cpu / rate:.0%}" if rate else ""
        shown.add_row(title, f"{wall:.3f}", f"{batch / wall:,.1f}", f"{cpu:.3f}", *ratios, share)
    return shown


def parts(name: str, folder: Path, batch: int, rounds: int, mixed: bool) -> Table:
    """CPU time of what a step of ours consists of, and of the operations of the network's part."""
    learner = learner_of(NETWORKS[name](), Projection(512), torch.device("cpu")).train()
    optimizer = make_optimizer(learner.net, ADAM, True, learner.inputs, learner.objective)
    batches, seconds = pairs(folder, batch), {}

    def clock(part: str, work: Callable[[], Any]) -> Any:
        results = []
        seconds.setdefault(part, []).append(timed(lambda: results.append(work())).cpu)
        return results[0]

    def projected(embedded: Tensor) -> None:
        nt_xent(*(learner.objective.project(one) for one in embedded.unbind(1))).backward()

    def learned(x: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = learner.objective.loss(learner.net, {"x": x})["loss"]
        loss.backward()

    for _ in range(rounds + 1):
        given = clock("loader", lambda: next(batches))
        x = clock("augmentation", lambda given=given: learner.prepared({"x": given["x"]}, learner.augmentations)["x"])
        clock("network, projection and loss", lambda x=x: learned(x))
        clock("of these, projection and loss", lambda: projected(torch.randn(batch, 2, 512)))
        clock("optimiser", optimizer.step)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        learned(x)
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    shown = Table(title=f"{name}: parts of {MIXED if mixed else OURS}", title_justify="left")
    for column in ("", "CPU s, median", "share"):
        shown.add_column(column, justify="left" if not column else "right")
    found = {part: statistics.median(turns[1:]) for part, turns in seconds.items()}
    whole = sum(value for part, value in found.items() if not part.startswith("of these"))
    for part, value in found.items():
        shown.add_row(part, f"{value:.4f}", f"{value / whole:.1%}")
    for event in events[:8]:
        shown.add_row(f"  {event.key}", "", f"{event.self_cpu_time_total / total:.0%} of the network")
    return shown


def peak(name: str, title: str, folder: Path, batch: int, threads: int) -> float:
    """MB that one contestant takes above its start, in this process."""
    torch.set_num_threads(threads)
    step = contestants(name, folder, batch, torch.device("cpu"), False)[title]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: a process begins with that of its parent
    before = resident("VmRSS")
    for _ in range(2):
        step()
    return resident("VmHWM") - before


def main() -> None:
    """Runs the races and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some of them, separated by commas")
    parser.add_argument("--batch", type=int, default=96, help="clips of a step, of two crops each (default: 96)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--device", default="cpu", help="of the networks (default: cpu)")
    parser.add_argument("--compile", action="store_true", help="compile the network of the step in mixed precision")
    parser.add_argument("--parts", action="store_true", help="tell what a step of ours consists of (on a processor)")
    parser.add_argument("--memory", action="store_true", help="measure memory, too (on a processor, Linux)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, console = torch.device(arguments.device), Console(width=120)
    on_cpu = device.type == "cpu"
    best = core_roof(5) if on_cpu else None
    console.print(describe() if on_cpu else torch.cuda.get_device_name(device))
    if best:
        console.print(f"of one core: {best}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_corpus(folder, arguments.batch)
        for name in arguments.networks.split(","):
            work = contestants(name, folder, arguments.batch, device, arguments.compile)
            timings = race({title: finished(step, device) for title, step in work.items()}, arguments.rounds)
            console.print(table(name, timings, arguments.batch, best.rate if best else None))
            if arguments.parts and on_cpu:
                for mixed in (False, True):
                    console.print(parts(name, folder, arguments.batch, arguments.rounds, mixed))
            if arguments.memory and on_cpu:
                for title in work:
                    settings = (name, title, folder, arguments.batch, arguments.threads)
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        print(f"{name}, {title}: {pool.apply(peak, settings):,.0f} MB")


if __name__ == "__main__":
    main()
