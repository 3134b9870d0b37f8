"""Files in the layouts in which CLMR and TUNe are published, with random weights, and their networks by definition."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.taggers import State, norm

N = 11
CLMR_CHANNELS = (128, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512)
# Block of TUNe -> channels in, of TUNe+ where these are others, channels out.
TUNE_BLOCKS = {
    "conv1": (1, 1, 11),
    "conv2": (11, 11, 22),
    "conv3": (22, 22, 44),
    "conv4": (44, 44, 88),
    "conv5": (88, 88, 176),
    "conv6": (176, 176, 88),
    "conv7": (88, 88, 44),
    "conv8": (44, 44, 22),
    "conv9": (22, 22, 11),
    "convDown1": (11, 33, 22),
    "convDown2": (22, 66, 44),
    "convDown3": (44, 132, 88),
    "convDown4": (88, 264, 176),
    "convDown5": (176, 176, 352),
    "convDown6": (352, 352, 352),
    "convDown7": (352, 352, 352),
    "convDown8": (352, 352, 352),
    "convDown9": (352, 352, 512),
}
UPSAMPLINGS = {"transposedConv6": (176, 88), "transposedConv7": (88, 44), "transposedConv8": (44, 22)}
UPSAMPLINGS["transposedConv9"] = (22, 11)


def block(conv: str, bn: str, channels_in: int, channels: int, kernel: int = 3) -> dict[str, Tensor]:
    """Random tensors of a convolution and of a batch norm in use."""
    return {
        f"{conv}.weight": torch.randn(channels, channels_in, kernel) * (2 / (channels_in * kernel)) ** 0.5,
        f"{conv}.bias": 0.1 * torch.randn(channels),
        f"{bn}.weight": 0.5 + torch.rand(channels),
        f"{bn}.bias": 0.1 * torch.randn(channels),
        f"{bn}.running_mean": 0.1 * torch.randn(channels),
        f"{bn}.running_var": 0.5 + torch.rand(channels),
        f"{bn}.num_batches_tracked": torch.tensor(7),
    }


def clmr(strides: tuple[int, ...] = (3,) * 9) -> dict[str, Tensor]:
    """An encoder of CLMR: 77 tensors."""
    torch.manual_seed(0)
    kernels, state, before = (3, *strides, 3), {}, 1
    for number, (wide, kernel) in enumerate(zip(CLMR_CHANNELS, kernels, strict=True)):
        state |= block(f"sequential.{number}.0", f"sequential.{number}.1", before, wide, kernel)
        before = wide
    return state


def tune(plus: bool = False) -> dict[str, Tensor]:
    """An encoder of TUNe or TUNe+: 134 tensors."""
    torch.manual_seed(1)
    state = {}
    for name, (alone, joined, channels) in TUNE_BLOCKS.items():
        state |= block(f"{name}.layers.0", f"{name}.layers.1", joined if plus else alone, channels)
    for name, (channels_in, channels) in UPSAMPLINGS.items():
        state[f"{name}.weight"] = torch.randn(channels_in, channels, 3) / channels_in**0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(channels)
    return state


def head(hidden: bool = False, classes: int = 50, prefix: str = "") -> dict[str, Tensor]:
    """A linear head, or one with a hidden layer."""
    torch.manual_seed(2)
    shapes = {"0": (512, 512), "2": (classes, 512)} if hidden else {"0": (classes, 512)}
    state = {}
    for name, shape in shapes.items():
        state[f"{prefix}{name}.weight"] = 0.1 * torch.randn(shape)
        state[f"{prefix}{name}.bias"] = 0.1 * torch.randn(shape[0])
    return state


def lightning(encoder: State) -> dict:
    """A checkpoint of CLMR 2 or of TUNe: every tensor twice, and the projection head."""
    state = {f"encoder.{key}": tensor for key, tensor in encoder.items()}
    state |= {f"model.encoder.{key}": tensor for key, tensor in encoder.items()}
    state |= {"model.projector.0.weight": torch.randn(512, 512), "model.projector.2.weight": torch.randn(64, 512)}
    return {"epoch": 10_000, "global_step": 1, "pytorch-lightning_version": "1.0.7", "state_dict": state}


def first_version(encoder: State, oldest: bool = False) -> dict[str, Tensor]:
    """A file of CLMR 1; the oldest count blocks from 1."""
    projector = {"projector.0.weight": torch.randn(512, 512), "projector.2.weight": torch.randn(128, 512)}
    state = {f"encoder.{key}": tensor for key, tensor in encoder.items()} | projector
    if not oldest:
        return state
    return {re.sub(r"sequential\.(\d+)", lambda found: f"conv{int(found[1]) + 1}", key): state[key] for key in state}


def clmr_by_definition(state: State, audio: Tensor) -> Tensor:
    """Representations `[batch, 512]` of windows `[batch, samples]`, one operation after the other."""
    x = audio[:, None]
    for number in range(11):
        weight, bias = (state[f"sequential.{number}.0.{part}"] for part in ("weight", "bias"))
        x = F.conv1d(x, weight, bias, stride=1 if number else 3, padding=1 if number else 0)
        x = F.relu(norm(state, f"sequential.{number}.1", x))
        if 1 <= number <= 9:
            x = F.max_pool1d(x, weight.shape[2])
    return x.flatten(1)


def tune_block(state: State, name: str, x: Tensor) -> Tensor:
    """What a block of TUNe gives of what it sees."""
    x = F.conv1d(x, state[f"{name}.layers.0.weight"], state[f"{name}.layers.0.bias"], padding=1)
    return F.relu(norm(state, f"{name}.layers.1", x))


def unet_by_definition(state: State, audio: Tensor) -> dict[str, Tensor]:
    """What every block of TUNe's U-Net gives, `[batch, channels, cells]`, one operation after the other."""
    outputs: dict[str, Tensor] = {}
    x = audio[:, None]
    for number in range(1, 5):
        outputs[f"conv{number}"] = tune_block(state, f"conv{number}", x)
        x = F.max_pool1d(outputs[f"conv{number}"], 3)
    x = outputs["conv5"] = tune_block(state, "conv5", x)
    for number in range(6, 10):
        weight, bias = (state[f"transposedConv{number}.{part}"] for part in ("weight", "bias"))
        x = torch.cat([F.conv_transpose1d(x, weight, bias, stride=3), outputs[f"conv{10 - number}"]], 1)
        x = outputs[f"conv{number}"] = tune_block(state, f"conv{number}", x)
    return outputs


def tune_by_definition(state: State, audio: Tensor) -> dict[str, Tensor]:
    """What every block of TUNe or TUNe+ gives, `[batch, channels, cells]`, one operation after the other."""
    outputs = unet_by_definition(state, audio)
    x = outputs["conv9"]
    plus = state["convDown1.layers.0.weight"].shape[1] == 33
    for number in range(1, 10):
        x = F.max_pool1d(x, 3)
        if plus and number <= 4:
            x = torch.cat([x, outputs[f"conv{9 - number}"]], 1)
        x = outputs[f"convDown{number}"] = tune_block(state, f"convDown{number}", x)
    return outputs
