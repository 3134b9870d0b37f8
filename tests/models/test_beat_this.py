"""Beat This against its definition and against the published package, by random weights in the published layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.beat_this import BeatThis
from models.beat_this_layout import halves
from models.checkpoints import initialise, load_checkpoint
from models.errors import CheckpointError, InputError
from models.frontends import build
from models.network_input import own_frontend
from tests.models.taggers import with_statistics
from tests.peers import peer

SIZE = {"bands": 64, "dim": 64, "blocks": 2, "head_width": 16, "front_channels": 16}
SPEEDS = 10_000.0 ** (-torch.arange(8) / 8)


def small(**arguments: object) -> BeatThis:
    torch.manual_seed(0)
    network = with_statistics(BeatThis(**{**SIZE, **arguments}))
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def levels(frames: int, bands: int = 64, batch: int = 2) -> Tensor:
    return torch.rand(batch, frames, bands, generator=torch.Generator().manual_seed(1)) * 6


def published(network: BeatThis) -> dict[str, Tensor]:
    """Its tensors in the layout of the package: pairs of neighbours, constants beside every attention."""
    width, state = network.hyperparameters["head_width"], {}
    order = torch.arange(width).view(-1, 2).t().flatten().argsort()
    for key, tensor in network.state_dict().items():
        name = key.replace("front.", "frontend.", 1) if key.startswith("front.") else key
        if key.startswith("block"):
            number, part, rest = key.removeprefix("block").split(".", 2)
            name = f"transformer_blocks.layers.{int(number) - 1}.{('attn', 'ff').index(part)}.{rest}"
        name = name.replace("head.", "task_heads.beat_downbeat_lin.", 1) if key.startswith("head.") else name
        name = f"transformer_blocks.{name}" if key.startswith("norm.") else name
        if key.endswith("to_qkv.weight"):
            q, k, v = tensor.chunk(3)
            q, k = (part.unflatten(0, (-1, width))[:, order].flatten(0, 1) for part in (q, k))
            tensor = torch.cat([q, k, v])
            state[name.replace("to_qkv.weight", "rotary_embed.freqs")] = SPEEDS
        state[name] = tensor
    return state


def by_definition(state: dict[str, Tensor], x: Tensor, width: int = 16) -> Tensor:
    """Logits of frames `[frames, bands]` by tensors in the published layout."""

    def normal(x: Tensor, name: str) -> Tensor:
        return x / x.square().mean(-1, keepdim=True).sqrt() * state[f"{name}.gamma"]

    def batch_norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def attended(x: Tensor, name: str) -> Tensor:  # [positions, dim]
        x = normal(x, f"{name}.norm")
        q, k, v = (x @ state[f"{name}.to_qkv.weight"].T).unflatten(1, (3, -1, width)).unbind(1)
        angles = torch.outer(torch.arange(len(x)), SPEEDS)
        turn = torch.polar(torch.ones_like(angles), angles)[:, None]
        q, k = (torch.view_as_real(torch.view_as_complex(a.unflatten(2, (-1, 2))) * turn).flatten(2) for a in (q, k))
        weights = (torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(width)).softmax(-1)
        heads = torch.einsum("hij,jhd->ihd", weights, v)
        gates = (x @ state[f"{name}.to_gates.weight"].T + state[f"{name}.to_gates.bias"]).sigmoid()
        return (heads * gates[..., None]).flatten(1) @ state[f"{name}.to_out.0.weight"].T

    def fed(x: Tensor, name: str) -> Tensor:
        x = normal(x, f"{name}.net.0")
        x = F.gelu(x @ state[f"{name}.net.1.weight"].T + state[f"{name}.net.1.bias"])
        return x @ state[f"{name}.net.4.weight"].T + state[f"{name}.net.4.bias"]

    x = batch_norm(x, "frontend.stem.bn1d").T[None]
    x = F.conv2d(x, state["frontend.stem.conv2d.weight"], stride=(4, 1), padding=(0, 1))
    x = F.gelu(batch_norm(x.permute(1, 2, 0), "frontend.stem.bn2d"))  # [bands, frames, channels]
    for number in range(3):
        name = f"frontend.blocks.{number}"
        if f"{name}.partial.attnF.norm.gamma" in state:
            for axis, which in ((1, "F"), (0, "T")):
                rows = [row + attended(row, f"{name}.partial.attn{which}") for row in x.unbind(axis)]
                x = torch.stack([row + fed(row, f"{name}.partial.ff{which}") for row in rows], axis)
        x = F.conv2d(x.permute(2, 0, 1), state[f"{name}.conv2d.weight"], stride=(2, 1), padding=(0, 1))
        x = F.gelu(batch_norm(x.permute(1, 2, 0), f"{name}.norm"))
    x = x.permute(1, 2, 0).flatten(1) @ state["frontend.linear.weight"].T + state["frontend.linear.bias"]
    for number in range(2):
        x = x + attended(x, f"transformer_blocks.layers.{number}.0")
        x = x + fed(x, f"transformer_blocks.layers.{number}.1")
    head = "task_heads.beat_downbeat_lin"
    beat, downbeat = (normal(x, "transformer_blocks.norm") @ state[f"{head}.weight"].T + state[f"{head}.bias"]).unbind(
        1
    )
    return torch.stack([beat + downbeat, downbeat], 1)


@pytest.mark.parametrize("partial", [True, False])
def test_logits_are_those_of_the_definition(partial):
    network, x = small(partial=partial), levels(11)
    with torch.no_grad():
        expected = torch.stack([by_definition(published(network), one) for one in x])
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.prepared()(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dim", "expected"), [(512, 20_251_712), (128, 2_099_960)])
def test_parameters_of_the_published_sizes(dim, expected):
    constants = 16  # speeds of the rotary positions, which are counted there
    assert sum(parameter.numel() for parameter in BeatThis(dim=dim).parameters()) + constants == expected


@pytest.mark.parametrize("prefix", ["", "model."])
def test_published_files_load_strictly(prefix, tmp_path):
    network = small()
    state = {prefix + key: tensor for key, tensor in published(network).items()}
    file = tmp_path / "small.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": {"transformer_dim": 64}} if prefix else state, file)
    loaded = load_checkpoint(file)
    assert loaded.network.hyperparameters == network.hyperparameters
    assert loaded.metadata["task"] == "beats"
    assert loaded.frontend.name == "beat_this_mel"
    for key, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], tensor)
    started = BeatThis(**SIZE)
    initialise(started, file)
    assert torch.equal(started.block1.attn.to_qkv.weight, network.block1.attn.to_qkv.weight)
    del state[f"{prefix}transformer_blocks.norm.gamma"]
    torch.save(state, file)
    with pytest.raises(CheckpointError):
        load_checkpoint(file)


def test_what_is_not_in_the_published_layout():
    network = small()
    assert BeatThis.from_published(network.state_dict()) is None
    state = published(network)
    key = next(key for key in state if key.endswith("freqs"))
    with pytest.raises(CheckpointError, match="the speeds of rotary positions"):
        BeatThis.from_published({**state, key: 2 * SPEEDS})
    weight = torch.arange(12.0)[:, None].expand(12, 4)
    assert halves(weight, 4)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("dim", [512, 128])
def test_logits_are_those_of_the_package(dim):
    peer("beat_this")
    theirs = peer("beat_this.model.beat_tracker").BeatThis(transformer_dim=dim)
    torch.manual_seed(0)
    with_statistics(theirs)
    for name, parameter in theirs.named_parameters():
        if not name.endswith("freqs"):
            parameter.data += 0.02 * torch.randn_like(parameter)
    arguments, state, _ = BeatThis.from_published(theirs.state_dict())
    network = BeatThis(**arguments).eval()
    network.load_state_dict(state)
    x = levels(150, 128, 1)
    with torch.no_grad():
        expected = theirs(x)
        found = network(x).unbind(2)
    for ours, name in zip(found, ("beat", "downbeat"), strict=True):
        np.testing.assert_allclose(ours, expected[name], atol=1e-4)


def test_windows_and_layers():
    network, frontend = BeatThis(dim=128), own_frontend(BeatThis)
    assert (frontend.frame_rate, network.seconds, network.margin, network.pool) == (50.0, 30.0, 6, 1)
    small_one, x = small(), levels(9)
    with torch.no_grad():
        logits, found = small_one.forward_and_embed(x, ["block1", "block2"])
        torch.testing.assert_close(small_one(x), logits)
    assert found["block1"].shape == (2, 9, 64)
    named = [name for layer in small_one.parameter_layers() for name in layer]
    assert sorted(named) == sorted(name for name, _ in small_one.named_parameters())
    with pytest.raises(InputError, match=r"makes frames of shape \[6, 128\]"):
        BeatThis.derive(build("harmonic"), 100, 2)
    with pytest.raises(ValueError, match="dim=100, head_width=32"):
        BeatThis(dim=100)


def test_linear_weights_start_small():
    network = BeatThis(dim=128)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert all(0.01 < module.weight.std() < 0.03 for module in linear if module.weight.numel() > 500)
    assert all((module.bias == 0).all() for module in linear if module.bias is not None)
