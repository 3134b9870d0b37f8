"""A training step of MAEST on a CPU, beside the modules of `maest-infer` (the upstream network) at equal shape.

    python -m benchmarks.training_step [--depth 12] [--batch 2] [--rounds 5] [--threads 2]

A step is forward, binary cross-entropy, backward and AdamW over 30-s clips with time patchout of 90 columns. The peer
trains as upstream does, with AdamW at its defaults; ours uses the fused one. They take turns; ratios are medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from maest_infer.model import MAEST as InferMAEST
from torch import nn

from benchmarks.machine import matrix_rate, race, ratio, report
from models.maest import MAEST
from models.maest.flops import cost

BANDS, FRAMES, POSITIONS, CLASSES, PATCHOUT = 96, 1875, 187, 400, 90
OURS, PEER = "ours", "maest-infer's modules"


def main() -> None:
    """Runs the race and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=12, help="blocks of both networks (default: 12)")
    parser.add_argument("--batch", type=int, default=2, help="clips of a step (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of both networks")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    shape = {"depth": arguments.depth, "s_patchout_t": PATCHOUT}
    ours = MAEST(n_frames=FRAMES, time_positions=POSITIONS, n_classes=CLASSES, **shape)
    peer = InferMAEST(img_size=(BANDS, FRAMES), stride=(10, 10), distilled=True, num_classes=CLASSES, **shape)
    peer.load_state_dict(ours.state_dict(), strict=True)
    ours.train()
    peer.train()
    x = torch.randn(arguments.batch, FRAMES, BANDS)
    image = x.transpose(1, 2)[:, None].contiguous()
    y = (torch.rand(arguments.batch, CLASSES) < 0.02).float()
    tokens = {OURS: tokens_seen(ours, lambda: ours(x)), PEER: tokens_seen(peer, lambda: logits_of(peer, image))}
    if len(set(tokens.values())) > 1:
        raise SystemExit(f"the networks see {tokens} tokens: expected equal numbers")

    contestants = {
        PEER: step(lambda: logits_of(peer, image), y, torch.optim.AdamW(peer.parameters(), lr=2e-5, weight_decay=1e-4)),
        OURS: step(lambda: ours(x), y, torch.optim.AdamW(ours.parameters(), lr=2e-5, weight_decay=1e-4, fused=True)),
    }
    rate = matrix_rate()
    timings = race(contestants, arguments.rounds)
    rate = max(rate, matrix_rate())
    flops = {
        name: arguments.batch * cost(ours, FRAMES, training=True, whole=name == PEER).training_flops
        for name in (PEER, OURS)
    }
    title = f"training step, {arguments.batch} clips of 30 s, {arguments.depth} blocks, {tokens[OURS]} tokens"
    report(title, timings, flops, OURS, rate)
    print(f"{PEER} / ours: {ratio(timings, PEER, OURS)[0]:.2f} (bar: 1.3)")


def logits_of(peer: InferMAEST, x: torch.Tensor) -> torch.Tensor:
    """The peer returns logits and features."""
    return peer(x, melspectrogram_input=True)[0]


def step(forward: Callable[[], torch.Tensor], y: torch.Tensor, optimiser: torch.optim.Optimizer) -> Callable[[], None]:
    """One optimisation step as a function."""

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        nn.functional.binary_cross_entropy_with_logits(forward(), y).backward()
        optimiser.step()

    return run


def tokens_seen(network: nn.Module, forward: Callable[[], object]) -> int:
    """Length of the sequence that enters the first block."""
    seen: list[int] = []
    handle = network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        forward()
    handle.remove()
    return seen[0]


if __name__ == "__main__":
    main()
