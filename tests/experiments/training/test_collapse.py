"""A collapse is said once, soon, and with what to do; a network that is only beginning gives no alarm."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn import functional as F

from experiments.objectives import Contrastive
from experiments.tracking import RunHandle
from experiments.training.collapse import STARTING, CollapseWatch
from tests.experiments.training.contrastive_toys import fit, learner, loaders, make_store


class AllAlike(Contrastive):
    """Pulls different tracks together, where they should be pushed apart."""

    def loss(self, network, batch):
        first, second = (self.project(self.embedded(network, view)) for view in batch["x"].unbind(1))
        return {"loss": F.mse_loss(F.normalize(first), F.normalize(second.roll(1, 0)))}


class Flatten(Callback):
    """Takes all but its constants from a network."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            torch.nn.init.zeros_(pl_module.net.linear.weight)


class Recorder(RunHandle):
    def set_info(self, **values):
        self.found = [*getattr(self, "found", []), *values.items()]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return loaders(make_store(tmp_path_factory.mktemp("store")))


def test_a_network_that_collapses_is_noticed_within_the_steps_of_a_check(clips, tmp_path, capsys):
    run = Recorder(tmp_path, 0)
    fit(tmp_path, learner(), clips, [Flatten(8), CollapseWatch(2, run)], epochs=5)

    ((name, found),) = run.found
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("collapse: ")]
    assert (name, found["step"], found["in"]) == ("collapse", 9, "training")
    assert found["rank"] == pytest.approx(1, abs=0.2)
    assert len(said) == 1
    assert "module.optimizer.lr" in said[0]


def test_a_loss_that_makes_tracks_alike_ends_in_a_collapse(clips, tmp_path, capsys):
    fit(tmp_path, learner(AllAlike), clips, [CollapseWatch(3, RunHandle(tmp_path, 0))], epochs=20)

    assert capsys.readouterr().err.count("collapse: ") == 1


def test_a_training_that_works_gives_no_alarm(clips, tmp_path, capsys):
    fit(tmp_path, learner(), clips, [CollapseWatch(1, RunHandle(tmp_path, 0))], epochs=3)

    assert "collapse" not in capsys.readouterr().err


def test_a_network_that_begins_near_one_point_gets_time(tmp_path, capsys):
    watch = CollapseWatch(1, RunHandle(tmp_path, 0))
    for step in range(STARTING):
        watch._judge(1.01, -1e-6, step, training=step % 2 == 0)
    assert capsys.readouterr().err == ""
    watch._judge(1.01, -1e-6, STARTING, training=False)
    assert "of the validation" in capsys.readouterr().err


def test_the_batch_is_looked_at_without_a_trace(clips, tmp_path):
    trained = []
    for number, watching in enumerate(([], [CollapseWatch(1, RunHandle(tmp_path, 0))])):
        made = learner()
        (tmp_path / f"{number}").mkdir()
        fit(tmp_path / f"{number}", made, clips, watching, epochs=2)
        assert not made.objective.project._forward_hooks
        trained.append(made.state_dict())
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
