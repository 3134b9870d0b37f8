"""What `benchmarks.gpu` times: steps of training and of inference. Imports PyTorch and `models` alone."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn

from models import augment
from models.maest import MAEST


@dataclass(frozen=True)
class Shape:
    """One network and its clips.

    Attributes:
        settings: Of `MAEST`.
        batch: Clips of a step.
    """

    settings: dict
    batch: int

    def network(self, **more: int) -> MAEST:
        """The network with random weights, the same ones every time."""
        torch.manual_seed(0)
        return MAEST(**{**self.settings, **more})

    def clips(self, device: torch.device, batch: int | None = None) -> torch.Tensor:
        """Random windows `[batch, frames, bands]`."""
        generator = torch.Generator().manual_seed(1)
        shape = (batch or self.batch, self.settings["n_frames"], self.settings["n_bands"])
        return torch.randn(shape, generator=generator).to(device)


@dataclass
class StepTiming:
    """What a contestant took.

    Attributes:
        seconds: Of one step, the median.
        peak: Bytes of device memory at the highest point; 0 on a CPU.
        resting: Bytes held between steps.
        notes: What else there is to say.
    """

    seconds: float
    peak: int = 0
    resting: int = 0
    notes: list[str] = field(default_factory=list)


def wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], object], device: torch.device, steps: int, warm_up: int = 3) -> float:
    """Time of one call, by the device's own clock where it has one."""
    for _ in range(warm_up):
        work()
    wait(device)
    if device.type != "cuda":
        return statistics.median(_wall(work) for _ in range(steps))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    wait(device)
    return statistics.median(before.elapsed_time(after) for before, after in pairwise(events)) / 1e3


def _wall(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(work: Callable[[], object], device: torch.device, steps: int) -> StepTiming:
    """Median time and memory of a step, and whether its graphs, if it has any, were all compiled before."""
    for _ in range(2):
        work()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    wait(device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    resting = torch.cuda.memory_allocated(device) if on_gpu else 0
    timing = StepTiming(median_seconds(work, device, steps, warm_up=1), resting=resting)
    if on_gpu:
        timing.peak = torch.cuda.max_memory_allocated(device)
    if graphs:
        later = torch._dynamo.utils.counters["stats"]["unique_graphs"] - graphs
        breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
        timing.notes.append(f"{graphs} graphs, {later} more in {steps} steps, {breaks} breaks")
    return timing


def training_step(
    network: nn.Module,
    shape: Shape,
    device: torch.device,
    fused: bool = True,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
    whole: bool = False,
) -> Callable[[], torch.Tensor]:
    """A step in bfloat16 autocast with float32 weights: forward, binary cross-entropy, backward, AdamW.

    Args:
        network: Put into training mode on the device.
        shape: Of the clips.
        device: Where it runs.
        fused: Use the optimiser of one kernel, else the default one.
        forward: How to call the network.
        whole: Begin with float16 log-mels in pinned memory: copy, normalise, mixup and masks on the device.
    """
    network.to(device).train()
    forward = forward or network
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=2e-5, weight_decay=1e-4, **({"fused": True} if fused else {})
    )
    x = shape.clips(device)
    stored = x.half().cpu()
    stored = stored.pin_memory() if whole and device.type == "cuda" else stored
    y = (torch.rand(shape.batch, shape.settings["n_classes"], device=device) < 0.02).float()

    def step() -> torch.Tensor:
        optimiser.zero_grad(set_to_none=True)
        clips, target = (x, y) if not whole else _augmented(stored.to(device, non_blocking=True), y)
        with torch.autocast(device.type, torch.bfloat16):
            logits = forward(clips)
        loss = F.binary_cross_entropy_with_logits(logits.float(), target)
        loss.backward()
        optimiser.step()
        return loss

    return step


def _augmented(stored: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mel = (stored.float() - 2.0) / 2.5
    mix = augment.mixup_draw(len(mel), 0.3, mel.device)
    return augment.spec_augment(augment.mixup(mel, *mix)), augment.mixup(y, *mix)


def inference_step(
    network: nn.Module, shape: Shape, device: torch.device, dtype: torch.dtype | None, forward: Callable | None = None
) -> Callable[[], object]:
    """A forward pass without gradients: in autocast to `dtype`, or None for the precision of the weights."""
    network.to(device).eval().requires_grad_(False)
    forward = forward or network
    x = shape.clips(device)

    def step() -> object:
        cast = torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()
        with torch.inference_mode(), cast:
            return forward(x)

    return step


class MaterialisedAttention(nn.Module):
    """Attention as a product, a softmax and a product, which holds all N x N weights in memory."""

    def __init__(self, fused: nn.Module) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = fused.heads, fused.qkv, fused.proj

    def forward(self, x: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """`[B, N, dim]` -> `[B, N, dim]`; all queries are computed."""
        batch, tokens, dim = x.shape
        split = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        weights = ((q @ k.transpose(-2, -1)) * (dim // self.heads) ** -0.5).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))


class Plain(nn.Module):
    """MAEST as its paper and PaSST's describe it, without our short cuts; the same values and the same draws.

    Every patch is embedded before patchout drops some, attention weights are materialised, and the last block computes
    all tokens.
    """

    def __init__(self, network: MAEST) -> None:
        super().__init__()
        self.net = copy.deepcopy(network)
        for block in self.net.blocks:
            block.attn = MaterialisedAttention(block.attn)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of `[B, T, bands]`."""
        net = self.net
        grid = net.patch_embed["proj"](x.transpose(1, 2)[:, None])
        rows, columns = grid.shape[2:]
        kept = net.patchout.sample(rows, columns, self.training)
        spare = net.grid[1] - columns
        offset = int(torch.randint(spare + 1, ())) if self.training and spare else 0
        grid = grid + net.time_new_pos_embed[:, :, :, offset : offset + columns] + net.freq_new_pos_embed
        if kept is not None:
            grid = grid[:, :, kept.rows.to(x.device)][:, :, :, kept.columns.to(x.device)]
        patches = grid.flatten(2).transpose(1, 2)
        if kept is not None and kept.tokens is not None:
            patches = patches[:, kept.tokens.to(x.device)]
        special = torch.cat([net.cls_token, net.dist_token], dim=1) + net.new_pos_embed
        tokens = torch.cat([special.expand(len(x), -1, -1), patches], dim=1)
        for block in net.blocks:
            tokens = block(tokens)
        return net.head(net.norm(tokens)[:, :2].mean(dim=1))


def maest_infer(network: MAEST) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """The network of `maest-infer` with equal weights, and how to call it.

    Raises:
        ImportError: It is not installed.
    """
    from maest_infer.model import MAEST as Theirs

    own = network.hyperparameters
    names = ("s_patchout_t", "s_patchout_f", "u_patchout", "depth", "mlp_ratio")
    theirs = Theirs(
        img_size=(own["n_bands"], own["n_frames"]),
        stride=(own["stride_f"], own["stride_t"]),
        distilled=True,
        num_classes=own["n_classes"],
        embed_dim=own["dim"],
        num_heads=own["heads"],
        **{name: own[name] for name in names},
    )
    theirs.load_state_dict(network.state_dict())
    return theirs, lambda x: theirs(x.transpose(1, 2)[:, None], melspectrogram_input=True)[0]


def gradients(network: nn.Module) -> torch.Tensor:
    """All gradients in one vector, float32 on the CPU."""
    return torch.cat([p.grad.float().flatten().cpu() for p in network.parameters() if p.grad is not None])


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative error in the Euclidean norm."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def attention_inputs(
    shape: Sequence[int], device: torch.device, dtype: torch.dtype, training: bool
) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values `[B, heads, N, width]` laid out as the network lays them out, and a gradient."""
    batch, heads, tokens, width = shape
    generator = torch.Generator(device).manual_seed(2)
    made = {"generator": generator, "device": device, "dtype": dtype}
    packed = torch.randn(batch, tokens, 3, heads, width, **made)
    gradient = torch.randn(batch, heads, tokens, width, **made)
    return (*packed.requires_grad_(training).permute(2, 0, 3, 1, 4).unbind(0), gradient)
