"""The benchmark of contrastive training steps runs, and its plain networks are ours."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import contrastive_step
from benchmarks.contrastive_plain import plain_nt_xent, plainly
from benchmarks.machine import Roof
from models.losses.nt_xent import nt_xent


@pytest.mark.parametrize("name", contrastive_step.NETWORKS)
def test_plain_networks_give_what_ours_give_with_the_same_weights(name):
    torch.manual_seed(0)
    network = contrastive_step.NETWORKS[name]()
    x = 0.1 * torch.randn(2, contrastive_step.SAMPLES, dtype=torch.double)
    layer, plain = network.double().default_layer, plainly(network).double()
    assert (plain(x) - network.embed(x, [layer])[layer].mean(1)).abs().max() < 1e-6
    for ours, theirs in zip(network.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours[1], theirs, rtol=1e-6, atol=1e-9, msg=ours[0])


def test_the_plain_loss_is_ours():
    first, second = torch.randn(2, 5, 8).unbind()
    torch.testing.assert_close(plain_nt_xent(first, second), nt_xent(first, second))


def test_the_race_is_run_and_told(monkeypatch, capsys):
    monkeypatch.setattr(contrastive_step, "core_roof", lambda _: Roof(1e11, "a kernel", (1, 1, 1)))
    monkeypatch.setattr(contrastive_step.reference, "chain", lambda crop, rate: -crop)  # it is compiled for seconds
    words = ["--networks", "tune", "--batch", "2", "--rounds", "1", "--parts"]
    monkeypatch.setattr(sys, "argv", ["contrastive_step", *words])
    threads = torch.get_num_threads()
    try:
        contrastive_step.main()
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "tune: losses on the same crops" in printed
    for title in (contrastive_step.OURS, contrastive_step.MIXED, contrastive_step.ALONE, "augmentation", "optimiser"):
        assert title in printed
