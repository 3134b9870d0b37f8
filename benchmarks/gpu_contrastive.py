"""Contrastive pre-training on a GPU: CLMR's SampleCNN and TUNe+, from crops in int16 to the optimiser's step.

A part of `benchmarks.gpu`. Two crops of every clip are augmented on the device by the whole chain of CLMR and go
through the network one after the other in bfloat16; then projection, NT-Xent, backward and Adam. A clip is a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_bench import Bench
from benchmarks.gpu_contestants import Shape, measured, median_seconds
from models.augment import Chain
from models.clmr import CLMR
from models.losses.nt_xent import nt_xent
from models.maest.flops import Cost
from models.network import Network
from models.projection import Projection
from models.samples import FULL_SCALE
from models.tune import TUNe

RATE, BATCH = 22_050, 96  # Hz; clips
# CLMR's chain: all else is as the steps have it by default.
CHAIN = (
    {"name": "polarity", "p": 0.8}, {"name": "noise", "p": 0.01}, {"name": "gain"}, {"name": "high_low_pass"},
    {"name": "delay"}, {"name": "pitch"}, {"name": "reverb"},
)  # fmt: skip
NETWORKS: Mapping[str, Callable[[], Network]] = {
    "CLMR": partial(CLMR, n_classes=0),
    "TUNe+": partial(TUNe, n_classes=0, connections=True),
}
TINY: Mapping[str, Callable[[], Network]] = {
    "CLMR": partial(CLMR, n_classes=0, channels=(4,) * 11),
    "TUNe+": partial(TUNe, n_classes=0, connections=True, width=2, tail=(4, 8, 8), size=8),
}
BAR = "bar 910, target 2,000 clips/s"  # ten times the published rate


def pretraining_step(network: Network, x: Tensor, augmented: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
    """A step in bfloat16 autocast with float32 weights.

    Args:
        network: Without outputs, on the device.
        x: Crops in int16, `[clips, 2, samples]`, on the device.
        augmented: Crops `[crops, samples]`, float32, as the network sees them.
    """
    layer, device = network.default_layer, x.device
    project = Projection(network.embedding_shape(layer, (), x.shape[2])[-1]).to(device)
    network.train()
    optimiser = torch.optim.Adam([*network.parameters(), *project.parameters()], lr=3e-4, fused=True)

    def step() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        views = augmented(x.flatten(0, 1).float() / FULL_SCALE).unflatten(0, (-1, 2)).unbind(1)
        with torch.autocast(device.type, torch.bfloat16):
            first, second = (project(network.embed(view, [layer])[layer].mean(1)) for view in views)
            loss = nt_xent(first, second)
        loss.backward()
        optimiser.step()
        return loss

    return step


def pretrain(bench: Bench, name: str, compiled: bool, batch: int = BATCH) -> None:
    """One row: a step, and the share of it that the augmentation is."""
    torch.manual_seed(0)
    network = (TINY if bench.tiny else NETWORKS)[name]().to(bench.device)
    shape, samples = Shape({}, 2 if bench.tiny else batch), network.window
    x = torch.randint(-8000, 8000, (shape.batch, 2, samples), dtype=torch.int16).to(bench.device)
    chain = Chain.build(CHAIN, audio=True, sample_rate=RATE)
    step = pretraining_step(network, x, chain.waveforms)
    if compiled:
        network.compile_parts(backend=bench.backend)
    timing = measured(step, bench.device, bench.steps)
    if not torch.isfinite(step()):
        timing.notes.append("LOSS NOT FINITE")
    views = x.flatten(0, 1).float() / FULL_SCALE
    alone = median_seconds(lambda: chain.waveforms(views), bench.device, bench.steps)
    timing.notes.append(f"augmentation {alone / timing.seconds:.1%} of the step; {BAR}")
    title = f"{name}, {'compiled' if compiled else 'eager'}"
    bench.note("contrastive", title, shape, timing, Cost(0, 2 * network.macs((samples,))))


def contrastive(bench: Bench) -> None:
    """All rows."""
    for name in NETWORKS:
        for compiled in (True, False):
            title = f"contrastive, {name}, {'compiled' if compiled else 'eager'}"
            bench.attempt(title, lambda name=name, compiled=compiled: pretrain(bench, name, compiled))
    if not bench.quick:
        bench.attempt("contrastive, TUNe+, compiled, 512 clips", lambda: pretrain(bench, "TUNe+", True, 512))
