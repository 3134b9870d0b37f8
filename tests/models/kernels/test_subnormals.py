"""Subnormal numbers count as zero where a command computes, and what is made for inference has none."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from experiments.settings import PretrainSettings
from experiments.training import pretraining
from models import fcn
from models.convolutional import Tagger
from models.export import PlainForm
from models.inputs import Inputs
from models.kernels.subnormals import flushing, without_subnormals
from models.network_input import own_frontend
from models.probes import batched
from models.probes.grids import ProbeConfig

TINY = torch.finfo(torch.float32).tiny  # the smallest that is not subnormal

IN_ALL_THREADS = """
import torch
from models.kernels.subnormals import flushing
torch.set_num_threads(2)
with flushing():
    assert not (torch.full((2**22,), 1e-39) * 1.5).any()
"""


def flushed() -> bool:
    return bool(torch.tensor(TINY) / 4 == 0)


def test_they_are_zero_for_a_while():
    assert not flushed()
    with flushing():
        with flushing():
            assert flushed()
        assert flushed()
        assert torch.tensor(TINY) / 1 == TINY
    assert not flushed()


def test_they_are_zero_for_the_threads_that_come_after():
    subprocess.run([sys.executable, "-c", IN_ALL_THREADS], check=True)


def test_trainings_flush_them(monkeypatch):
    met = []

    def begin(*_):
        met.append(flushed())
        raise InterruptedError

    monkeypatch.setattr(pretraining, "begin", begin)
    with pytest.raises(InterruptedError):
        pretraining.pretrain(PretrainSettings(), SimpleNamespace())

    def score(outputs):
        met.append(flushed())
        return torch.full((len(outputs),), 0.5)

    x, y = np.eye(8, 4, dtype=np.float32), np.eye(8, 2, dtype=np.float32)
    config = ProbeConfig(max_steps=4)
    batched.train_batch({0: config}, (x, y), (x, y), 2, F.binary_cross_entropy_with_logits, score)
    assert len(met) > 1
    assert all(met)
    assert not flushed()


@pytest.fixture
def decayed() -> Tagger:
    """A tagger most of whose weights have decayed."""
    torch.manual_seed(0)
    network = fcn.FCN(n_classes=3).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight[torch.rand(weight.shape) < 0.7] *= 1e-39
    return network


def subnormals(network: torch.nn.Module) -> int:
    return sum(int(((weight != 0) & (weight.abs() < TINY)).sum()) for weight in network.parameters())


def test_only_they_are_taken_out(decayed):
    before = {name: weight.clone() for name, weight in decayed.state_dict().items()}
    assert subnormals(decayed) > 10_000
    assert without_subnormals(decayed) is decayed
    for name, weight in decayed.state_dict().items():
        assert torch.equal(weight, torch.where(before[name].abs() < TINY, 0, before[name]))


def test_copies_for_inference_and_for_other_programs_have_none(decayed):
    x = torch.randn(1, decayed.window, 96)
    prepared, form = decayed.prepared(), PlainForm(decayed, Inputs(own_frontend(decayed), 0.0, 1.0), ["layer5"])
    with torch.inference_mode():
        outputs = decayed(x)
        assert subnormals(prepared) == subnormals(form) == 0
        torch.testing.assert_close(prepared(x), outputs)
    assert subnormals(decayed) > 10_000
