"""Averages of weights: what is averaged, when it is validated, what is saved, and that training does not notice."""

from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from experiments.settings import ModuleSettings
from experiments.training.averaging import Averaging, MovingAverage, SnapshotAverage, averaging, take_out
from experiments.training.checkpointing import AtomicCheckpoints, KeepBest
from models.layouts import read_weights
from models.maest import MAEST
from models.maest.compiled import compile_blocks
from models.optim.schedules import exp_lin

EPOCHS = 130
STARTS = [49 + 5 * number for number in range(17)]  # 49, 54, ..., 129
FACTORS = {0: 0.01742, 1: 0.04076, 2: 0.1653, 3: 0.44933, 4: 0.81873, 5: 1, 50: 1, 51: 0.9802, 60: 0.802, 75: 0.505}
FACTORS |= {99: 0.0298, 100: 0.01, 129: 0.01}


class Walk(L.LightningModule):
    """Its weight is moved by the optimiser; validation losses of both networks can be given."""

    def __init__(self, losses=None, averaged_losses=None):
        super().__init__()
        self.net, self.averaged_networks = nn.Linear(2, 1, bias=False), {}
        self.losses, self.averaged_losses = losses, averaged_losses
        self.starts, self.rates, self.validated, self.steps = {}, {}, [], []

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.arange(6.0).view(3, 2), batch_size=1)

    def val_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(2, 2), batch_size=1)

    def on_train_epoch_start(self):
        self.starts[self.current_epoch] = next(self.net.parameters()).detach().clone()
        self.rates[self.current_epoch] = self.optimizers().param_groups[0]["lr"]

    def training_step(self, batch, _):
        return (self.net(batch) - 1).square().mean()

    def on_train_batch_end(self, *_):
        self.steps.append(next(self.net.parameters()).detach().clone())

    def on_validation_epoch_end(self):
        epoch = self.current_epoch
        self.validated += [epoch] if self.averaged_networks else []
        self.log("val/loss", torch.tensor(float(self.losses[epoch]) if self.losses else 1.0))
        for suffix in self.averaged_networks:
            self.log(f"val/loss{suffix}", float(self.averaged_losses[epoch]) if self.averaged_losses else 2.0)

    def validation_step(self, batch, _):
        pass

    def on_load_checkpoint(self, checkpoint):
        take_out(checkpoint)

    def configure_optimizers(self):
        made = torch.optim.AdamW(self.parameters(), 2e-5)
        schedule = torch.optim.lr_scheduler.LambdaLR(made, exp_lin(5, 50, 50, 0.01))
        return {"optimizer": made, "lr_scheduler": schedule}


def fit(module: Walk, average: Averaging | None, epochs: int, folder, resume=None, **more) -> L.Trainer:
    keep = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpoints()],
        callbacks=[
            *([average] if average else []),
            KeepBest(average, **keep),
            L.pytorch.callbacks.ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **keep),
        ],
        **more,
    )
    trainer.fit(module, ckpt_path=resume, weights_only=True)
    return trainer


def of_the_recipe() -> SnapshotAverage:
    return averaging(ModuleSettings())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The recipe's 130 epochs with its average: the module, the average, the folder."""
    folder, average = tmp_path_factory.mktemp("recipe"), of_the_recipe()
    torch.manual_seed(0)
    module = Walk()
    fit(module, average, EPOCHS, folder)
    return module, average, folder


def test_f12_snapshots_are_taken_at_the_epochs_of_the_recipe(recipe):
    module, average, _ = recipe
    assert average.epochs == STARTS
    assert int(average.average.n_averaged) == 17
    assert module.validated == STARTS


def test_the_average_is_the_plain_mean_of_the_snapshots(recipe):
    module, average, folder = recipe
    mean = torch.stack([module.starts[epoch] for epoch in STARTS]).double().mean(dim=0)
    assert torch.allclose(average.average.module.weight.double(), mean, rtol=1e-6)
    assert torch.equal(read_weights(folder / "last.ckpt").state["weight"], average.average.module.weight)
    assert torch.equal(read_weights(folder / "last.ckpt", averaged=False).state["weight"], module.net.weight)


@pytest.mark.parametrize("kind", ["snapshots", "none", "moving"])
def test_f12_neither_rates_nor_weights_notice_an_average(recipe, kind, tmp_path):
    """The schedule of the recipe goes on untouched while weights are averaged."""
    module = recipe[0]
    if kind != "snapshots":
        torch.manual_seed(0)
        module = Walk()
        fit(module, MovingAverage(0.9) if kind == "moving" else None, EPOCHS, tmp_path, check_val_every_n_epoch=130)
        assert torch.equal(module.net.weight, recipe[0].net.weight)
    for epoch, factor in FACTORS.items():
        assert module.rates[epoch] == pytest.approx(2e-5 * factor, rel=1e-3)


@pytest.mark.parametrize("cut", [51, 60])
def test_f06_a_training_resumed_between_snapshots_gives_the_same_average(recipe, cut, tmp_path):
    torch.manual_seed(0)
    fit(Walk(), of_the_recipe(), cut, tmp_path)
    again, average = Walk(), of_the_recipe()
    fit(again, average, EPOCHS, tmp_path / "second", resume=tmp_path / "last.ckpt")
    assert average.epochs == STARTS
    assert torch.equal(average.average.module.weight, recipe[1].average.module.weight)
    assert torch.equal(again.net.weight, recipe[0].net.weight)


def test_f12_there_is_no_second_network_before_it_is_needed(tmp_path):
    average, module = SnapshotAverage(3, 1), Walk()
    fit(module, average, 2, tmp_path)
    assert average.average is None
    assert module.validated == []
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert list(saved) == ["net.weight"]


def test_the_average_is_validated_when_validation_comes_after_it_changed(tmp_path):
    module = Walk()
    fit(module, SnapshotAverage(2, 5), 12, tmp_path, check_val_every_n_epoch=3)
    assert module.validated == [2, 8, 11]  # snapshots at 1, 6 and 11, validation after 2, 5, 8 and 11
    module = Walk()
    trainer = fit(module, SnapshotAverage(2, 5), 4, tmp_path)
    assert module.validated == [1]
    assert "val/loss_swa" not in trainer.callback_metrics  # nothing of an earlier validation is shown as this one's


@pytest.mark.parametrize(
    ("losses", "averaged", "epoch", "of_average"),
    [
        ([5, 4, 3, 2], [9, 9, 9, 1], 3, True),
        ([5, 4, 3, 2], [9, 9, 9, 9], 3, False),
        ([5, 4, 3, 2], [9, 1, 9, 9], 1, True),
        ([5, 1, 3, 2], [9, 9, 9, 1.5], 1, False),
        ([5, 4, 3, float("nan")], [9, 9, 9, 1], 3, True),
        ([5, 4, 3, 2], [float("nan")] * 4, 3, False),
    ],
)
def test_the_best_checkpoint_is_of_the_better_network(losses, averaged, epoch, of_average, tmp_path):
    trainer = fit(Walk(losses, averaged), SnapshotAverage(2, 1), 4, tmp_path)
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["epoch"] == epoch
    assert ("net_swa.weight" in best["state_dict"]) == of_average
    assert float(trainer.checkpoint_callback.best_model_score) == (averaged if of_average else losses)[epoch]
    assert "net_swa.weight" in torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]


def test_a_moving_average_moves_at_optimiser_steps(tmp_path):
    module, average = Walk(), MovingAverage(0.75)
    fit(module, average, 2, tmp_path, accumulate_grad_batches=2)
    taken = [module.steps[batch] for batch in (1, 2, 4, 5)]  # batches 2 and 3 of three: the last one is a step as well
    expected = taken[0]
    for weight in taken[1:]:
        expected = 0.75 * expected + 0.25 * weight
    assert torch.allclose(average.average.module.weight, expected)
    assert int(average.average.n_averaged) == 4
    assert module.validated == [0, 1]


def test_the_average_evaluates_and_is_no_part_of_the_learner(tmp_path):
    module, average = Walk(), SnapshotAverage(1, 1)
    module.net = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))
    fit(module, average, 1, tmp_path)
    assert not average.average.module.training
    assert not any(parameter.requires_grad for parameter in average.average.parameters())
    assert [name for name, _ in module.named_parameters()] == ["net.0.weight", "net.0.bias"]


def test_the_average_of_a_compiled_network_is_a_plain_one(tmp_path):
    network = MAEST(dim=16, depth=2, heads=2, n_frames=46, n_bands=36, n_classes=3)
    compile_blocks(network, backend="eager")
    average = SnapshotAverage(1, 1)
    average.include(SimpleNamespace(net=network))
    assert average.average.module.state_dict().keys() == network.state_dict().keys()
    assert all(block._compiled_call_impl is None for block in average.average.module.blocks)
    x = torch.randn(2, 46, 36)
    with torch.no_grad():
        assert torch.allclose(average.average.module(x), network.eval()(x), atol=1e-6)


def test_the_settings_choose():
    recipe = of_the_recipe()
    assert (recipe.start, recipe.every) == (50, 5)
    assert averaging(ModuleSettings(do_swa=False)) is None
    assert averaging(ModuleSettings(ema_decay=0.999)).decay == 0.999
    with pytest.raises(ValidationError, match=r"do_swa=True and ema_decay=0\.999: a training keeps one average"):
        ModuleSettings(do_swa=True, ema_decay=0.999)


def test_a_test_may_take_the_average_in_place_of_the_network():
    checkpoint = {"state_dict": {"net.weight": 1, "net_swa.weight": 2}}
    assert take_out(checkpoint, instead=True)
    assert checkpoint["state_dict"] == {"net.weight": 2}
    assert not take_out(checkpoint)
    average = SnapshotAverage(1, 1)
    average.on_load_checkpoint(SimpleNamespace(state=SimpleNamespace(fn="test")), None, checkpoint)
    assert average.average is None
