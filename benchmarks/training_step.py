"""A training step of MAEST on a CPU, beside the modules of `maest-infer` (the upstream network) at equal shape.

    python -m benchmarks.training_step [--depth 12] [--batch 2] [--rounds 5] [--threads 2]
    python -m benchmarks.training_step --memory     # peak of each, in a process of its own
    python -m benchmarks.training_step --curves 200 --depth 4 --seconds 10   # how far the losses are apart

A step is forward, binary cross-entropy, backward and AdamW over 30-s clips with time patchout of 90 columns. The peer
trains as upstream does, with AdamW at its defaults; ours uses the fused one: with PyTorch's own kernels
(`inference.kernels=torch`), with the fastest ones, and in bfloat16. They take turns; ratios are medians.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from maest_infer.model import MAEST as InferMAEST
from torch import nn

from benchmarks.machine import race, ratio, report, roof
from models.kernels.mode import using
from models.maest import MAEST
from models.maest.flops import cost

BANDS, RATE, CLASSES, COLUMNS = 96, 62.5, 400, 10  # frames a second; frames from column to column
OURS, TORCH, MIXED, PEER = "ours", "ours, PyTorch's kernels", "ours, bfloat16", "maest-infer's modules"


def main() -> None:
    """Runs the race and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=12, help="blocks of all networks (default: 12)")
    parser.add_argument("--batch", type=int, default=2, help="clips of a step (default: 2)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a clip (default: 30)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of all networks")
    parser.add_argument("--memory", action="store_true", help="print the peak memory of each instead")
    parser.add_argument("--curves", type=int, metavar="STEPS", help="train ours for so many steps instead")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = (arguments.depth, arguments.batch, arguments.seconds)
    if arguments.memory:
        memory(size, arguments.threads)
    elif arguments.curves:
        curves(size, arguments.curves)
    else:
        compare(size, arguments.rounds)


def networks(depth: int, seconds: float) -> tuple[MAEST, InferMAEST]:
    """Ours and the peer with the same weights, at half of the columns."""
    torch.manual_seed(0)
    frames = round(seconds * RATE)
    positions = frames // COLUMNS
    shape = {"depth": depth, "s_patchout_t": positions * 90 // 187}
    ours = MAEST(n_frames=frames, time_positions=positions, n_classes=CLASSES, **shape)
    peer = InferMAEST(img_size=(BANDS, frames), stride=(10, 10), distilled=True, num_classes=CLASSES, **shape)
    peer.load_state_dict(ours.state_dict(), strict=True)
    return ours.train(), peer.train()


def contestant(name: str, depth: int, batch: int, seconds: float) -> tuple[Callable[[], float], nn.Module]:
    """A training step as a function that gives its loss, and the network."""
    ours, peer = networks(depth, seconds)
    x = torch.randn(batch, round(seconds * RATE), BANDS)
    y = (torch.rand(batch, CLASSES) < 0.02).float()
    rates = {"lr": 2e-5, "weight_decay": 1e-4}
    if name == PEER:
        image, optimiser = x.transpose(1, 2)[:, None].contiguous(), torch.optim.AdamW(peer.parameters(), **rates)
        return step(lambda: peer(image, melspectrogram_input=True)[0], y, optimiser), peer
    optimiser = torch.optim.AdamW(ours.parameters(), fused=True, **rates)
    work = step(lambda: ours(x), y, optimiser)

    def run() -> float:
        with arithmetic(name):
            return work()

    return run, ours


@contextmanager
def arithmetic(name: str) -> Iterator[None]:
    """The kernels and the type of a contestant of ours."""
    with ExitStack() as stack:
        if name == TORCH:
            stack.enter_context(using("torch"))
        if name == MIXED:
            stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        yield


def step(forward: Callable[[], torch.Tensor], y: torch.Tensor, optimiser: torch.optim.Optimizer) -> Callable[[], float]:
    """One optimisation step as a function."""

    def run() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.binary_cross_entropy_with_logits(forward().float(), y)
        with torch.autocast("cpu", enabled=False):
            loss.backward()
        optimiser.step()
        return loss.item()

    return run


def compare(size: tuple[int, int, float], rounds: int) -> None:
    """The race."""
    made = {name: contestant(name, *size) for name in (PEER, TORCH, OURS, MIXED)}
    tokens = {name: tokens_seen(network, work) for name, (work, network) in made.items()}
    if len(set(tokens.values())) > 1:
        raise SystemExit(f"the networks see {tokens} tokens: expected equal numbers")
    best, best_mixed = roof(), roof(torch.bfloat16)
    timings = race({name: work for name, (work, _) in made.items()}, rounds)
    depth, batch, seconds = size
    ours, frames = made[OURS][1], round(seconds * RATE)
    flops = {name: batch * cost(ours, frames, training=True, whole=name == PEER).training_flops for name in made}
    title = f"training step, {batch} clips of {seconds:g} s, {depth} blocks, {tokens[OURS]} tokens"
    report(title, timings, flops, OURS, best, {MIXED: best_mixed})
    for name, bar in ((OURS, 2.2), (MIXED, 3.5)):
        print(f"{PEER} / {name}: {ratio(timings, PEER, name)[0]:.2f} (bar: {bar})")


def tokens_seen(network: nn.Module, work: Callable[[], object]) -> int:
    """Length of the sequence that enters the first block."""
    seen: list[int] = []
    handle = network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    work()
    handle.remove()
    return seen[0]


def memory(size: tuple[int, int, float], threads: int) -> None:
    """Peak resident memory of three steps of each."""
    for name in (PEER, TORCH, OURS, MIXED):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(f"{name}: {pool.apply(peak, (name, size, threads)) / 2**10:,.0f} MB")


def peak(name: str, size: tuple[int, int, float], threads: int) -> int:
    """KB, in this process."""
    torch.set_num_threads(threads)
    work, _ = contestant(name, *size)
    for _ in range(3):
        work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def curves(size: tuple[int, int, float], steps: int) -> None:
    """Losses of ours from the same weights on the same batches, with the same patches left out."""
    made = {name: contestant(name, *size)[0] for name in (TORCH, OURS, MIXED)}
    losses: dict[str, list[float]] = {name: [] for name in made}
    for number in range(steps):
        for name, work in made.items():
            torch.manual_seed(number)
            losses[name].append(work())
        if not (number + 1) % max(1, steps // 10):
            apart = {name: abs(own[-1] / losses[TORCH][-1] - 1) for name, own in losses.items() if name != TORCH}
            told = ", ".join(f"{name} {difference:.1e}" for name, difference in apart.items())
            print(f"step {number + 1}: loss {losses[TORCH][-1]:.6f}; relative difference: {told}")
    for name in (OURS, MIXED):
        apart = max(abs(own / other - 1) for own, other in zip(losses[name], losses[TORCH], strict=True))
        print(f"{name}: largest relative difference of the loss in {steps} steps {apart:.1e}")


if __name__ == "__main__":
    main()
