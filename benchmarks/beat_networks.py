"""Networks for beats on a CPU: forward pass, training step, and how memory grows with time.

    python -m benchmarks.beat_networks [--networks spectnt_beats,...] [--seconds 30] [--batch 2] [--rounds 5]
                                       [--threads 2] [--profile] [--tiny]

From frames of the front end, which is not timed. A training step is forward, cross-entropy, backward and AdamW; its
work is counted as three forward passes. Each runs with PyTorch's own kernels as well (`inference.kernels=torch`), Beat
This also beside the package `beat_this` where that is installed. Memory is the most that a training step takes above
its start, in a process of its own, with half and with all of the length. A profile lists the operations of a training
step by their own time.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import multiprocessing
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.machine import by_pytorch, race, ratio, report, roof
from benchmarks.taggers import resident
from experiments.configs.catalogue import TRANSFER
from models import networks
from models.frontends.base import FrontEnd
from models.network import Network
from models.network_input import frames_in, own_frontend

SYSTEMS = {  # what is run -> network, and settings that differ from its defaults
    "spectnt_beats": ("spectnt_beats", {}),
    "spectnt_tcn": ("spectnt_tcn", {}),
    "tcn": ("tcn", {}),
    "beat_this": ("beat_this", {}),
    "beat_this_small": ("beat_this", {"dim": 128}),
}
OURS, TORCH, PACKAGE = "ours", "ours, PyTorch's kernels", "beat_this"
ROWS = 25  # of a profile


def built(name: str, tiny: bool) -> tuple[Network, FrontEnd]:
    """A network with random weights, and its front end."""
    torch.manual_seed(0)
    network, settings = SYSTEMS[name]
    kind = networks.find(network)
    small = TRANSFER["debug"].by_network[network]["model"] if tiny else {}
    return kind(**{**settings, **small}), own_frontend(kind)


def package(network: Network) -> nn.Module | None:
    """The network of the package `beat_this` of the same size; None of others, or without the package."""
    if network.name != "beat_this" or not network.hyperparameters["partial"]:
        return None
    try:
        tracker = importlib.import_module("beat_this.model.beat_tracker")
    except ImportError:
        return None
    return tracker.BeatThis(transformer_dim=network.hyperparameters["dim"])


def logits_of(module: nn.Module, x: Tensor) -> Tensor:
    """Logits `[batch, steps, 2]`, which the package gives as two."""
    outputs = module(x)
    return torch.stack([outputs["beat"], outputs["downbeat"]], 2) if isinstance(outputs, dict) else outputs


def step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """One optimisation step as a function."""
    optimiser = torch.optim.AdamW(module.train().parameters(), lr=1e-4, fused=True)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        logits = logits_of(module, x)
        F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits)).backward()
        optimiser.step()

    return run


def inferred(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """A forward pass without gradients as a function."""
    ready = module.prepared() if isinstance(module, Network) else module.eval()
    return torch.inference_mode()(lambda: logits_of(ready, x))


def example(network: Network, frontend: FrontEnd, seconds: float, batch: int) -> Tensor:
    """Frames `[batch, frames, *item_shape]`."""
    return torch.randn(batch, frames_in(seconds, frontend), *frontend.item_shape)


def peak(name: str, seconds: float, batch: int, threads: int, tiny: bool) -> float:
    """MB that a training step takes above its start, in this process."""
    torch.set_num_threads(threads)
    network, frontend = built(name, tiny)
    work = step(network, example(network, frontend, seconds, batch))
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def memory(*settings: Any) -> float:
    """The same in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, settings)


def main() -> None:
    """Runs the races and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(SYSTEMS), help="some of them, separated by commas")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a crop (default: 30)")
    parser.add_argument("--batch", type=int, default=2, help="crops of a training step (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contestant (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of all")
    parser.add_argument("--profile", action="store_true", help="print where the time of a training step goes")
    parser.add_argument("--tiny", action="store_true", help="small networks: shows that it runs")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    for name in arguments.networks.split(","):
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """The tables of one network."""
    network, frontend = built(name, arguments.tiny)
    modules = {OURS: network, PACKAGE: package(network)}
    modules = {one: module for one, module in modules.items() if module is not None}
    for training, batch in ((False, 1), (True, arguments.batch)):
        x = example(network, frontend, arguments.seconds, batch)
        make = step if training else inferred
        work = {one: make(module, x) for one, module in modules.items()}
        work[TORCH] = by_pytorch(partial(make, copy.deepcopy(network), x))
        best = roof(rounds=1 if arguments.tiny else 5)
        timings = race(work, arguments.rounds)
        macs = network.macs(x.shape[1:])
        kind = f"{'training step' if training else 'forward pass'}, {batch} x {arguments.seconds:g} s"
        flops = dict.fromkeys(work, 2.0 * macs * batch * (3 if training else 1))
        report(f"{name}: {kind}", timings, flops, OURS, best)
        for other in set(work) - {OURS}:
            print(f"{other} / ours: {ratio(timings, other, OURS)[0]:.2f} (CPU {ratio(timings, other, OURS)[1]:.2f})")
    if not arguments.tiny:
        halves = [arguments.seconds / 2, arguments.seconds]
        took = [memory(name, seconds, arguments.batch, arguments.threads, arguments.tiny) for seconds in halves]
        print(f"memory of a training step: {took[0]:.0f} MB of {halves[0]:g} s, {took[1]:.0f} MB of {halves[1]:g} s")
    if arguments.profile:
        with torch.profiler.profile() as profile:
            work[OURS]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS, max_name_column_width=48))


if __name__ == "__main__":
    main()
