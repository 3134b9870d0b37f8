"""SpecTNT against its definition; that attention is over frequency within a frame, then over time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.network_input import own_frontend
from models.spectnt import ResUnit, SpecTNT, SpecTNTBlock, Start, Tokens
from tests.models.taggers import with_statistics

SIZE = {"channels": 8, "dim": 16, "blocks": 2, "spectral_heads": 2, "temporal_heads": 2, "n_classes": 3}
BEATS = [(2, 2), (2, 2), (2, 1)]


def small(**arguments: object) -> SpecTNT:
    """Every parameter random, also those that a new network has at zero."""
    torch.manual_seed(0)
    network = with_statistics(SpecTNT(**{**SIZE, **arguments}))
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def levels(frames: int, bands: int = 128, batch: int = 2) -> Tensor:
    return torch.randn(batch, frames, bands, generator=torch.Generator().manual_seed(1)) * 20 - 30


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def attended(state: dict[str, Tensor], name: str, x: Tensor, heads: int, rotary: bool) -> Tensor:
    """Pre-norm encoder layer over the second to last axis, written out."""

    def normal(x: Tensor, norm: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.{norm}.weight"], state[f"{name}.{norm}.bias"], 1e-6)

    count, width = x.shape[-2], x.shape[-1] // heads
    q, k, v = linear(state, f"{name}.attn.qkv", normal(x, "norm1")).chunk(3, -1)
    results = []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        queries, keys = q[..., own], k[..., own]
        if rotary:  # as complex numbers
            half = width // 2
            angle = torch.outer(torch.arange(count), 10_000 ** (-torch.arange(half) / half))
            turn = torch.polar(torch.ones_like(angle), angle)
            queries, keys = (
                torch.view_as_real(torch.complex(one[..., :half], one[..., half:]) * turn).transpose(-1, -2).flatten(-2)
                for one in (queries, keys)
            )
        weights = (queries @ keys.transpose(-1, -2) / math.sqrt(width)).softmax(-1)
        results.append(weights @ v[..., own])
    x = x + linear(state, f"{name}.attn.proj", torch.cat(results, -1))
    hidden = F.gelu(linear(state, f"{name}.mlp.fc1", normal(x, "norm2")))
    return x + linear(state, f"{name}.mlp.fc2", hidden)


def by_definition(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits of levels `[batch, frames, bands]`, by the equations of the paper."""

    def conv(x: Tensor, layer: str, norm: str) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        unit = "start.units.0"
        x = F.conv2d(x, state[f"{unit}.{layer}.weight"], state[f"{unit}.{layer}.bias"], padding=1)
        return F.batch_norm(x, *(state[f"{unit}.{norm}.{key}"] for key in keys))

    x = ((x + 20) / 20).transpose(1, 2)[:, None]
    inner = conv(F.relu(conv(x, "conv1", "bn1")), "conv2", "bn2")
    x = F.max_pool2d(F.relu(inner + conv(x, "shortcut.0", "shortcut.1")), (1, 4))
    spectral = [x[..., frame].transpose(1, 2) for frame in range(x.shape[-1])]  # of every frame: [batch, bands, K]
    first = state["start.frequency_class"][0].expand(len(x), -1, -1)
    spectral = [torch.cat([first, one], 1) + state["start.frequency_positions"][0] for one in spectral]
    clip = state["start.time_class"].expand(len(x), -1, -1)
    temporal = [torch.zeros(len(x), SIZE["dim"]) for _ in spectral]
    for block in ("block1", "block2"):
        for t, rows in enumerate(spectral):
            rows = rows.clone()
            rows[:, 0] += linear(state, f"{block}.to_rows", temporal[t])
            spectral[t] = attended(state, f"{block}.spectral", rows, 2, rotary=False)
            temporal[t] = temporal[t] + linear(state, f"{block}.to_steps", spectral[t][:, 0])
        steps = torch.cat([clip, torch.stack(temporal, 1)], 1)
        steps = attended(state, f"{block}.temporal", steps, 2, rotary=True)
        clip, temporal = steps[:, :1], list(steps[:, 1:].unbind(1))
    return linear(state, "head", clip[:, 0])


def test_logits_equal_the_definition():
    network, x = small(), levels(23)
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_definition(network.state_dict(), x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({"ratio": 1.0}, 496_370), ({}, 829_874), ({"channels": 128, "dim": 128}, 1_462_834)],
)
def test_parameters_of_the_sizes_for_tagging(arguments, expected):
    assert size(SpecTNT(**arguments)) == expected


@pytest.mark.parametrize(
    ("channels", "dim", "ratio", "convolutions", "blocks", "total"),
    [
        (64, 256, 1.0, 192_588, 2_270_400, 2_464_911),
        (64, 256, 4.0, 192_588, 4_364_160, 4_558_671),
        (96, 96, 4.0, 427_116, 1_211_520, 1_640_655),
        (128, 256, 4.0, 753_804, 5_269_760, 6_026_639),
    ],
)
def test_parameters_of_the_sizes_for_beats(channels, dim, ratio, convolutions, blocks, total):
    start = Start(6, 128, channels, dim, BEATS, class_token=False)
    stack = 5 * size(SpecTNTBlock(channels, dim, (4, 8), ratio, 0.15))
    norm, head = size(nn.BatchNorm2d(6)), size(nn.Linear(dim, 3))
    assert (size(start.units) + norm, stack) == (convolutions, blocks)
    assert size(start) + norm + stack + head == total


def test_shapes_of_the_front_ends():
    with torch.no_grad():
        rows, steps = SpecTNT().eval().stem(levels(196))
        assert (rows.shape, steps.shape) == ((2, 49, 129, 96), (2, 50, 96))
        rows, steps = Start(6, 128, 64, 256, BEATS, class_token=False)(torch.randn(1, 6, 128, 313))
        assert (rows.shape, steps.shape) == ((1, 78, 17, 64), (1, 78, 256))
        assert ResUnit(4, 4, (2, 3))(torch.randn(1, 4, 8, 10)).shape == (1, 4, 4, 3)


def test_windows_are_those_of_the_paper():
    frontend = own_frontend(SpecTNT)
    assert frontend.n_frames(SpecTNT.window_samples) == SpecTNT.window == 196
    assert round(SpecTNT.window_samples / frontend.sample_rate, 3) == 4.54
    peaks = frontend.filters.argmax(0)
    assert len(peaks.unique()) == 128  # no two bands of one bin


def tokens(frames: int = 5) -> Tokens:
    generator = torch.Generator().manual_seed(2)
    return Tokens(
        torch.randn(1, frames, 17, 8, generator=generator), torch.randn(1, frames + 1, 16, generator=generator)
    )


def test_the_order_of_rows_with_their_positions_is_nothing_to_the_class_token():
    network, x = small(), levels(8)
    start, order = network.start, torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(128)])
    rows, steps = start(x.transpose(1, 2)[:, None])
    with torch.no_grad():
        kept, permuted = network.block1(Tokens(rows, steps)), network.block1(Tokens(rows[:, :, order], steps))
        torch.testing.assert_close(permuted.rows[:, :, 0], kept.rows[:, :, 0])
        torch.testing.assert_close(permuted.rows, kept.rows[:, :, order])
        torch.testing.assert_close(permuted.steps, kept.steps)
        moved = Tokens(rows.flip(2), steps)  # without the class token in front it is another frame
        assert not torch.allclose(network.block1(moved).steps, kept.steps)


def test_frames_meet_in_the_temporal_encoder_alone():
    block = small().block1
    given = tokens()
    swap = [0, 3, 2, 1, 4]
    changed = Tokens(given.rows[:, swap], given.steps[:, [0, *(1 + place for place in swap)]])
    with torch.no_grad():
        plain, swapped = block(given), block(changed)
        torch.testing.assert_close(swapped.rows, plain.rows[:, swap])
        assert not torch.allclose(swapped.steps[:, [1, 3, 5]], plain.steps[:, [1, 3, 5]])  # of the other frames


def test_with_every_step_alone_an_edit_of_a_frame_changes_no_other(monkeypatch):
    network = small()
    attention = F.scaled_dot_product_attention

    def own_alone(q: Tensor, k: Tensor, v: Tensor, **options: float) -> Tensor:
        if q.shape[-1] == SIZE["dim"] // SIZE["temporal_heads"]:  # in time; over frequency heads are narrower
            options["attn_mask"] = torch.eye(q.shape[-2], dtype=torch.bool)
        return attention(q, k, v, **options)

    given = tokens()
    edited = Tokens(given.rows.clone(), given.steps)
    edited.rows[:, 2] += 1

    def others(through: Tokens) -> Tensor:
        steps = network.block2(network.block1(through)).steps
        return steps[:, [0, 1, 2, 4, 5]]  # the clip's first; frame 2 is the fourth

    with torch.no_grad():
        assert not torch.allclose(others(edited), others(given))
        monkeypatch.setattr(F, "scaled_dot_product_attention", own_alone)
        assert torch.equal(others(edited), others(given))


def test_only_distances_in_time_count():
    block = small().block1.temporal
    x = torch.randn(1, 1, 16).expand(1, 6, 16)
    with torch.no_grad():
        q, k, _ = block.attn._project(x, None)
        products = q @ k.transpose(-1, -2)
    for distance in range(-3, 4):
        diagonal = products.diagonal(distance, -2, -1)
        torch.testing.assert_close(diagonal, diagonal[..., :1].expand_as(diagonal))


@pytest.mark.parametrize("frames", [4, 196, 314, 2584])  # up to a minute
def test_the_same_weights_take_any_length(frames):
    with torch.no_grad():
        assert small()(levels(frames, batch=1)).shape == (1, 3)


def test_layers_are_the_blocks_with_the_clip_and_the_mean_of_its_frames():
    network, x = small(), levels(20)
    with torch.no_grad():
        logits, found = network.forward_and_embed(x, ["block1", "block2"])
        cells = network.run_layers(x, ["block1", "block2"])
    assert network.token_names == ("tct", "mean")
    torch.testing.assert_close(found["block1"][:, 0], cells["block1"].steps[:, 0])
    torch.testing.assert_close(found["block2"][:, 1], cells["block2"].steps[:, 1:].mean(1))
    torch.testing.assert_close(logits, network.head(found["block2"][:, 0]))
    assert found["block2"].shape == (2, 2, 16)


def test_the_mean_of_the_frames_can_be_classified_instead():
    network, x = small(head="mean"), levels(20)
    assert network.start.time_class is None
    assert network.token_names == ("mean",)
    with torch.no_grad():
        steps = network.run_layers(x, ["block2"])["block2"].steps
        torch.testing.assert_close(network(x), network.head(steps.mean(1)))
        torch.testing.assert_close(network.embed(x, ["block2"])["block2"][:, 0], steps.mean(1))
    assert steps.shape == (2, 5, 16)


def test_other_front_ends_and_what_does_not_decay():
    network = small(bands=40)
    assert network(levels(8, 40)).shape == (2, 3)
    assert set(network.no_weight_decay()) == {
        f"start.{name}" for name in ("frequency_class", "frequency_positions", "time_class")
    }


def test_heads_must_divide_the_widths():
    with pytest.raises(ValueError, match=r"channels=96 with spectral_heads=5: expected a multiple of 5"):
        SpecTNT(spectral_heads=5)
    with pytest.raises(ValueError, match=r"dim=96 with temporal_heads=32: expected a multiple of 64"):
        SpecTNT(temporal_heads=32)
