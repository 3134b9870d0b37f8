"""SpecTNT and a TCN together: the mean of both on one grid, and gradients that reach both."""

from __future__ import annotations

import torch
from torch import Tensor

from models.network_input import own_frontend
from models.spectnt_tcn import SpecTNTTCN, averaged
from tests.models.taggers import with_statistics

SIZE = {"harmonics": 2, "notes": 96, "channels": 8, "dim": 16, "blocks": 1, "spectral_heads": 2, "temporal_heads": 2}


def small() -> SpecTNTTCN:
    torch.manual_seed(0)
    return with_statistics(SpecTNTTCN(**SIZE, tcn_channels=4, tcn_blocks=2))


def levels(frames: int) -> Tensor:
    return torch.randn(2, frames, 2, 96, generator=torch.Generator().manual_seed(1))


def test_logits_are_the_mean_of_both_at_the_steps_of_spectnt():
    network, x = small(), levels(21)
    with torch.no_grad():
        scaled = network.spectnt.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        spectnt, tcn = network.spectnt(x), network.tcn(scaled)
        assert (spectnt.shape, tcn.shape) == ((2, 10, 2), (2, 21, 2))
        pairs = tcn[:, :20].unflatten(1, (10, 2)).mean(2)
        torch.testing.assert_close(network(x), (spectnt + pairs) / 2)
        torch.testing.assert_close(network.prepared()(x), network(x), rtol=1e-4, atol=1e-5)


def test_both_are_trained():
    network = small().train()
    network(levels(20)).square().sum().backward()
    untouched = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not untouched


def test_the_layer_is_what_both_classify():
    network, x = small(), levels(20)
    with torch.no_grad():
        logits, found = network.forward_and_embed(x, ["last"])
        torch.testing.assert_close(logits, network(x))
        torch.testing.assert_close(network.embed(x, ["last"]), found)
    assert found["last"].shape == (2, 10, 16 + 4)


def test_windows_are_those_of_spectnt():
    network, frontend = SpecTNTTCN(), own_frontend(SpecTNTTCN)
    assert (network.pool, network.margin, frontend.frame_rate, network.over_time) == (2, 32, 100.0, True)
    assert network.derive(frontend, 3000, 2) == {"n_classes": 2, "harmonics": 6, "notes": 128}
    assert set(network.no_weight_decay()) <= {name for name, _ in network.named_parameters()}


def test_frames_that_are_left_over_make_no_step():
    frames = torch.arange(7.0).view(1, 7, 1)
    assert averaged(frames, 2).flatten().tolist() == [0.5, 2.5, 4.5]
    assert averaged(frames, 1).equal(frames)
