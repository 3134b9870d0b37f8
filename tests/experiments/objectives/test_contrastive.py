"""Views by crops and by masks, and several processes that learn what one does."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from experiments.objectives import Contrastive
from experiments.settings import ContrastiveSettings, PretrainSettings
from models.clmr import CLMR
from models.losses.nt_xent import nt_xent
from models.maest import MAEST
from models.tune import TUNe

SMALL = {"width": 2, "tail": (4, 8, 8), "size": 16}  # of TUNe
ROOT = Path(__file__).resolve().parents[3]
FRAMES = 48
X = torch.randn(6, 2, FRAMES, 96, generator=torch.Generator().manual_seed(0))


def network(**given) -> MAEST:
    torch.manual_seed(0)
    return MAEST(n_classes=0, n_frames=FRAMES, stride_f=16, stride_t=16, dim=16, depth=2, heads=2, **given)


def objective(**given) -> Contrastive:
    torch.manual_seed(1)
    return Contrastive(16, **given)


def test_two_crops_are_compared_by_the_last_block():
    net, made = network().eval(), objective()
    tokens = [net.embed(view, ["block_01"])["block_01"].mean(1) for view in X.unbind(1)]
    expected = nt_xent(*(made.project(one) for one in tokens))
    assert torch.equal(made.loss(net, {"x": X})["loss"], expected)


def test_a_crop_is_masked_in_two_ways():
    net, made = network(), objective(crops=1, masked=0.7)
    assert made.views == 1
    seen: list[torch.Tensor] = []
    net.blocks[0].register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    loss = made.loss(net, {"x": X[:, 0]})["loss"]
    assert [one.shape for one in seen] == [(6, 2 + 5, 16)] * 2  # of 18 patches
    assert not torch.equal(*seen)
    loss.backward()
    assert net.patch_embed["proj"].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("crops", [1, 2])
def test_a_validation_masks_too_and_alike_every_time(crops):
    net, made = network().eval(), objective(crops=crops, masked=0.7)
    batch = {"x": X if crops == 2 else X[:, 0], "window": torch.arange(6)}
    with torch.no_grad():
        first, again = (made.keep(net, batch)["projected"] for _ in range(2))
    assert (first == again).all()
    assert (first[:, 0] != first[:, 1]).any()


def test_masks_need_a_share_and_a_network_of_patches():
    with pytest.raises(ValidationError, match="both views would be the same; say how much"):
        ContrastiveSettings(views="masks")
    given = {"module": {"objective": "contrastive"}, "contrastive": {"masked": 0.9}}
    with pytest.raises(ValidationError, match=r"contrastive\.masked=0\.9: the network samplecnn has no patches"):
        PretrainSettings(**given, model={"network": "samplecnn"})
    PretrainSettings(**given)


class Plain(nn.Module):
    """A network without batch norm, whose statistics between CPUs are those of each process."""

    default_layer = "hidden"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 5))

    def embed(self, x: torch.Tensor, layers: list[str]) -> dict[str, torch.Tensor]:
        return {"hidden": self.layers(x)[:, None]}


class Step(nn.Module):
    """What a process trains: network and objective."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.objective = Plain().double(), Contrastive(5, size=4).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.objective.loss(self.net, {"x": x})["loss"]


PROCESS = """
import os, sys, warnings
import torch
from torch.nn.parallel import DistributedDataParallel
from experiments import distributed
from tests.experiments.objectives.test_contrastive import Step
warnings.simplefilter("error", FutureWarning)
distributed.join()
rank, x = distributed.rank(), torch.load(f"{sys.argv[1]}/x.pt", weights_only=True)
step = DistributedDataParallel(Step())
loss = step(x.chunk(distributed.world_size())[rank])
loss.backward()
gradients = {name: parameter.grad for name, parameter in step.module.named_parameters()}
with torch.autocast("cpu", torch.bfloat16):
    half = DistributedDataParallel(Step().float())
    half(x.float().chunk(distributed.world_size())[rank]).backward()
halves = {name: parameter.grad for name, parameter in half.module.named_parameters()}
torch.save({"loss": loss.detach(), "gradients": gradients, "half": halves}, f"{sys.argv[1]}/{rank}.pt")
distributed.leave()
os._exit(0)  # gloo's threads are at times not joined when the interpreter takes itself down
"""


def test_two_processes_learn_what_one_does_of_the_joined_batch(tmp_path):
    """Loss, and gradients of network and projection head, as DDP averages them."""
    x = torch.randn(8, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.save(x, tmp_path / "x.pt")
    whole = Step()
    loss = whole(x)
    loss.backward()
    (tmp_path / "process.py").write_text(PROCESS)
    step = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_NODEID": "0"}
    step |= {"MASTER_PORT": str(28_000 + os.getpid() % 10_000), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "process.py"), str(tmp_path)],
            env=os.environ | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    left = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert float(sum(one["loss"] for one in left)) / 2 == pytest.approx(float(loss.detach()), abs=1e-6)
    for name, parameter in whole.named_parameters():
        for one in left:
            torch.testing.assert_close(one["gradients"][name], parameter.grad, atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(one["half"][name].double(), parameter.grad, atol=0.02, rtol=0.2)


@pytest.mark.parametrize("kind", ["clmr", "tune"])
def test_a_step_in_mixed_precision_is_near_that_in_full_precision(kind):
    """Convolutions are in bfloat16 there; statistics of batch norm and the loss are in float32."""
    torch.manual_seed(0)
    made = CLMR(n_classes=0, channels=[16] * 11) if kind == "clmr" else TUNe(n_classes=0, **SMALL)
    notes = torch.linspace(0.01, 1.5, 6)[:, None, None] * torch.arange(made.window)
    x = 0.3 * torch.sin(notes) + 0.02 * torch.randn(6, 2, made.window)
    dim = made.embedding_shape(made.default_layer, ())[-1]
    objective = Contrastive(dim)
    losses, state = [], copy.deepcopy(made.state_dict())
    for mixed in (False, True):
        made.load_state_dict(state)
        made.train().zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = objective.loss(made, {"x": x})["loss"]
        loss.backward()
        assert loss.dtype == torch.float32
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
    assert all(one.dtype == torch.float32 for one in (*made.parameters(), *made.buffers()) if one.is_floating_point())
    assert all(one.grad is None or one.grad.isfinite().all() for one in made.parameters())
