"""Subnormal numbers count as zero where a command computes, and what is made for inference has none."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from experiments.settings import PretrainSettings
from experiments.training import pretraining
from experiments.transfer import experiment as transferring
from experiments.transfer import frozen
from experiments.transfer.settings import TransferSettings
from models import fcn
from models.export import PlainForm
from models.inputs import Inputs
from models.kernels.mode import using
from models.kernels.subnormals import flushing, without_subnormals
from models.maest import MAEST
from models.maest.prepared import PackedBlock
from models.network import Network
from models.network_input import own_frontend
from models.probes import batched
from models.probes.grids import ProbeConfig
from tests.models.maest.shapes import SMALL

TINY = torch.finfo(torch.float32).tiny  # the smallest that is not subnormal

IN_ALL_THREADS = """
import torch
from models.kernels.mode import using
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


@pytest.mark.parametrize(
    "training",
    [
        lambda: pretraining.pretrain(PretrainSettings(), None),
        lambda: transferring.transfer(TransferSettings(), None),
        lambda: frozen.train_head(PretrainSettings(), "crop", None),
    ],
)
def test_trainings_flush_them(training, monkeypatch):
    met = []

    def begin(*_):
        met.append(flushed())
        raise InterruptedError

    for module in (pretraining, transferring, frozen):
        monkeypatch.setattr(module, "begin", begin)
    with pytest.raises(InterruptedError):
        training()
    assert met == [True]
    assert not flushed()


def test_probes_are_trained_without_them():
    met = []

    def score(outputs):
        met.append(flushed())
        return torch.full((len(outputs),), 0.5)

    x, y = np.eye(8, 4, dtype=np.float32), np.eye(8, 2, dtype=np.float32)
    config = ProbeConfig(max_steps=4)
    batched.train_batch({0: config}, (x, y), (x, y), 2, F.binary_cross_entropy_with_logits, score)
    assert met
    assert all(met)
    assert not flushed()


def decayed(network: Network) -> Network:
    """The network, most of whose weights have decayed."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.05)
            weight[torch.rand(weight.shape) < 0.7] *= 1e-39
    return network.eval()


@pytest.fixture
def tagger() -> fcn.FCN:
    return decayed(fcn.FCN(n_classes=3))


def subnormals(network: torch.nn.Module) -> int:
    return sum(int(((weight != 0) & (weight.abs() < TINY)).sum()) for weight in network.parameters())


def test_only_they_are_taken_out(tagger):
    before = {name: weight.clone() for name, weight in tagger.state_dict().items()}
    assert subnormals(tagger) > 10_000
    assert without_subnormals(tagger) is tagger
    for name, weight in tagger.state_dict().items():
        assert torch.equal(weight, torch.where(before[name].abs() < TINY, 0, before[name]))


def test_weights_of_half_precision_are_kept():
    layer = torch.nn.Linear(2, 2).half()
    torch.nn.init.constant_(layer.weight, 5e-5)
    assert without_subnormals(layer).weight.all()


def test_copies_for_inference_and_for_other_programs_have_none(tagger):
    x = torch.randn(1, tagger.window, 96)
    prepared, form = tagger.prepared(), PlainForm(tagger, Inputs(own_frontend(tagger), 0.0, 1.0), ["layer5"])
    with torch.inference_mode():
        outputs = tagger(x)
        assert subnormals(prepared) == subnormals(form) == 0
        torch.testing.assert_close(prepared(x), outputs)
    assert subnormals(tagger) > 10_000


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_neither_have_those_of_a_transformer(kernels, monkeypatch):
    monkeypatch.delenv("OSTINATO_KERNELS", raising=False)
    network = decayed(MAEST(**SMALL))
    before, x = subnormals(network), torch.randn(1, 125, 96)
    with using(kernels):
        prepared = network.prepared()
    form = network.export_form(Inputs(own_frontend(network), 0.0, 1.0), [network.layer_names[-1]])
    assert subnormals(prepared) == subnormals(form) == 0
    for block in prepared.blocks:
        if isinstance(block, PackedBlock):  # its weights are no parameters
            product = block.fc1(torch.eye(SMALL["dim"])) - block.fc1.bias
            assert not ((product != 0) & (product.abs() < TINY)).any()
    with torch.inference_mode():
        torch.testing.assert_close(prepared(x), network(x), rtol=1e-4, atol=1e-4)
    assert subnormals(network) == before > 10_000
