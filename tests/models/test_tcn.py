"""The temporal convolutional network against its definition, frame by frame."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InputError
from models.frontends import build
from models.network_input import own_frontend
from models.tcn import TCN, elu

SIZE = {"bands": 81, "channels": 3, "blocks": 3}


def small(**arguments: object) -> TCN:
    torch.manual_seed(0)
    return TCN(**{**SIZE, **arguments}).eval()


def levels(frames: int, bands: int = 81, batch: int = 2) -> Tensor:
    return torch.randn(batch, frames, bands, generator=torch.Generator().manual_seed(1))


def by_definition(network: TCN, x: Tensor) -> Tensor:
    """Logits of `[frames, bands]`, by sums over frames and bands."""
    state = network.state_dict()
    maps = torch.cat([x[:1], x[:1], x, x[-1:], x[-1:]])[None]  # [channels, frames, bands]
    for number, (wide, tall) in enumerate([(3, 3), (1, 10), (3, 3)]):
        weight, bias = state[f"convs.{number}.weight"], state[f"convs.{number}.bias"]
        patches = maps.unfold(1, wide, 1).unfold(2, tall, 1)
        maps = torch.einsum("ctbij,ocij->otb", patches, weight) + bias[:, None, None]
        maps = F.elu(maps[..., : maps.shape[2] // 3 * 3].unflatten(2, (-1, 3)).amax(3))
    steps = maps[..., 0].T
    for number in range(network.hyperparameters["blocks"]):
        beside = []
        for conv, dilation in enumerate((2**number, 2 * 2**number)):
            weight, bias = (state[f"block{number + 1}.convs.{conv}.{part}"] for part in ("weight", "bias"))
            padded = F.pad(steps, (0, 0, 2 * dilation, 2 * dilation))
            taps = [padded[tap * dilation :][: len(steps)] @ weight[..., tap].T for tap in range(5)]
            beside.append(sum(taps) + bias)
        inner = F.elu(torch.cat(beside, 1))
        ways = {"residual": steps, "skip": inner}
        steps = sum(
            given @ state[f"block{number + 1}.{way}.weight"][..., 0].T + state[f"block{number + 1}.{way}.bias"]
            for way, given in ways.items()
        )
    return F.elu(steps) @ state["head.weight"].T + state["head.bias"]


def test_logits_are_those_of_the_definition():
    network, x = small(), levels(40)
    with torch.no_grad():
        expected = torch.stack([by_definition(network, one) for one in x])
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_elu_and_its_gradient_are_those_of_torch():
    values = [-torch.inf, -200.0, -1e-3, -1e-30, 0.0, 1e-3, 200.0, torch.inf, torch.nan]
    x = torch.cat([torch.tensor(values), torch.randn(1000, generator=torch.Generator().manual_seed(0))])
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    torch.testing.assert_close(elu(ours), F.elu(theirs), rtol=1e-6, atol=2e-7, equal_nan=True)
    elu(ours).sum().backward()
    F.elu(theirs).sum().backward()
    known = x.isfinite() & (x != 0)
    torch.testing.assert_close(ours.grad[known], theirs.grad[known])
    torch.testing.assert_close(elu(x.bfloat16()), F.elu(x.bfloat16()), equal_nan=True)


def test_the_default_size_is_the_published_one():
    network, frontend = TCN(), own_frontend(TCN)
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_962
    assert network.layer_names == tuple(f"block{number}" for number in range(1, 12))
    assert [conv.dilation for conv in network.block11.convs] == [(1024,), (2048,)]
    assert (frontend.frame_rate, network.pool) == (100.0, 1)
    assert network.derive(frontend, 3000, 2) == {"n_classes": 2, "maps": 1, "bands": 81}


@pytest.mark.parametrize("frames", [1, 30, 1500])
def test_every_frame_gets_an_output(frames):
    with torch.no_grad():
        assert small()(levels(frames)).shape == (2, frames, 2)


def test_a_window_gives_what_the_whole_does_as_far_as_the_blocks_see():
    network, x = small(), levels(200)
    reach = 1 + 1 + sum(4 * 2**number for number in range(3))
    with torch.no_grad():
        whole, part = network(x), network(x[:, 60:160])
    torch.testing.assert_close(part[:, reach:-reach], whole[:, 60 + reach : 160 - reach])
    assert not torch.allclose(part[:, : reach - 1], whole[:, 60 : 60 + reach - 1])


def test_maps_of_bands_are_channels_and_bands_that_are_left_are_kept():
    frontend = build("harmonic", hop=160)
    network = small(**{**TCN.derive(frontend, 300, 2), "bands": 128})
    with torch.no_grad():
        assert network(torch.randn(2, 20, 6, 128)).shape == (2, 20, 2)
    assert network.block1.residual.in_channels == 3 * 3


def test_the_layout_of_2019():
    network = small(channels=16, kernels=((3, 3), (3, 3), (1, 8)), pools=(3, 3, 1), rates=(1,), n_classes=1)
    with torch.no_grad():
        assert network(levels(30)).shape == (2, 30, 1)
    assert len(network.block1.convs) == 1


def test_layers_are_the_blocks():
    network, x = small(), levels(12)
    with torch.no_grad():
        logits, found = network.forward_and_embed(x, ["block1", "block3"])
        torch.testing.assert_close(network.head(F.elu(found["block3"])), logits)
    assert found["block1"].shape == (2, 12, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pools": (3, 3)}, ValueError, "3 kernels, 2 pools"),
        ({"width": 4}, ValueError, "width of 4 frames: expected an odd number"),
        ({"bands": 20}, InputError, "makes 20 bands"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, error, message):
    with pytest.raises(error, match=message):
        small(**arguments)
