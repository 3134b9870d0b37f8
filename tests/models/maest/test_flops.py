"""Costs against published figures and against PyTorch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.maest import MAEST
from models.maest.flops import cost
from tests.models.maest.shapes import build


@pytest.mark.parametrize(
    ("name", "patchout", "forward", "training"),
    [
        ("maest_10s", 30, 105, 153),
        ("maest_20s", 60, 236, 333),
        ("maest_30s", 90, 389, 526),
    ],
)
def test_published_figures(name, patchout, forward, training):
    with torch.device("meta"):
        network = build(name, s_patchout_t=patchout)
    assert cost(network, whole=True).flops / 1e9 == pytest.approx(forward, abs=0.6)
    assert cost(network, training=True, whole=True).training_flops / 1e9 == pytest.approx(training, abs=1)


def test_stopping_early():
    with torch.device("meta"):
        network = build("maest_30s")
    assert cost(network, blocks=8).flops / 1e9 == pytest.approx(259, abs=1)


@pytest.mark.parametrize("distilled_type", ["mean", "separated"])
def test_equal_to_what_runs(distilled_type):
    network = MAEST(n_frames=312, dim=64, depth=3, heads=2, n_classes=9, distilled_type=distilled_type).eval()
    x = torch.randn(1, 200, 96)
    with torch.no_grad():
        for blocks, run in ((None, lambda: network(x)), (2, lambda: network.embed(x, ["block_01"]))):
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                run()
            assert counter.get_total_flops() == cost(network, frames=200, blocks=blocks).flops


def test_dropped_patches_are_never_embedded():
    """In training too: what runs is what the kept patches cost."""
    network = MAEST(n_frames=312, dim=64, depth=2, heads=2, s_patchout_t=11, s_patchout_f=3, u_patchout=5).train()
    for _ in range(2):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(torch.randn(1, 300, 96))
        assert counter.get_total_flops() == cost(network, frames=300, training=True).flops
