"""Thresholds in checkpoints: of the weights in the file, whether trained or averaged, or not there."""

from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from experiments.objectives import Evaluation
from experiments.tasks import build
from experiments.training.averaging import MovingAverage, take_out
from experiments.training.checkpointing import AtomicCheckpoints, KeepBest
from experiments.training.thresholds import FitThresholds, thresholds_of
from models.layouts import load_pickled, read_weights

TASK = build("tagging", classes=["a", "b"])
REFERENCES = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], np.float32)


def evaluation(level: float) -> Evaluation:
    """Predictions whose best threshold is between 0.8 and 1 times the level."""
    return Evaluation({}, np.arange(4), level * (0.8 + 0.2 * REFERENCES), REFERENCES)


class Steps(L.LightningModule):
    """A weight that grows by 1 every step, and predictions whose level tells the epoch and the network."""

    def __init__(self, losses=(3.0, 2.0, 1.0), averaged=(4.0, 1.5, 2.0), task=TASK):
        super().__init__()
        self.net, self.objective = torch.nn.Linear(1, 1), SimpleNamespace(task=task)
        self.losses, self.averaged, self.averaged_networks = losses, averaged, {}
        self.save_hyperparameters({"labels": ["a", "b"]})

    def training_step(self, batch, _):
        return self.net(batch[0]).mean()

    def validation_step(self, batch, _):
        pass

    def on_validation_epoch_end(self):
        epoch = self.current_epoch
        self.log("val/loss", self.losses[epoch])
        self.evaluations = {"": evaluation(0.2 + 0.1 * epoch)}
        for suffix in self.averaged_networks:
            self.log(f"val/loss{suffix}", self.averaged[epoch])
            self.evaluations[suffix] = evaluation(0.7 + 0.1 * epoch)

    def on_load_checkpoint(self, checkpoint):
        take_out(checkpoint)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(module, folder, averaging=None, epochs=3, resume=None, **more):
    keep = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **keep)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpoints()],
        callbacks=[*([averaging] if averaging else []), FitThresholds(averaging), KeepBest(averaging, **keep), last],
        **more,
    )
    data = DataLoader(TensorDataset(torch.ones(2, 1)))
    trainer.fit(module, data, data, ckpt_path=resume, weights_only=True)
    return trainer


def level(file, averaged=None):
    """Of the predictions that a file's thresholds were fitted on; None: it has none."""
    found = read_weights(file, averaged).header.get("thresholds")
    return found and pytest.approx(found["global"] / 0.9)


def test_the_best_and_the_last_have_those_of_their_own_validation(tmp_path):
    fit(Steps(losses=(3.0, 1.0, 2.0)), tmp_path)
    assert (level(tmp_path / "best.ckpt"), level(tmp_path / "last.ckpt")) == (0.3, 0.4)
    found = load_pickled(tmp_path / "best.ckpt")["hyper_parameters"]["thresholds"]
    assert (found["tags"], found["split"], found["tracks"]) == (["a", "b"], "valid", 4)


def test_a_file_with_an_average_has_those_of_the_average(tmp_path):
    fit(Steps(), tmp_path, MovingAverage(0.5), epochs=2)
    assert (level(tmp_path / "best.ckpt"), level(tmp_path / "last.ckpt")) == (0.8, 0.8)
    assert level(tmp_path / "best.ckpt", averaged=False) is None
    fit(Steps(), tmp_path, MovingAverage(0.5), epochs=3)
    assert (level(tmp_path / "best.ckpt"), level(tmp_path / "last.ckpt")) == (0.4, 0.9)


def test_weights_that_were_not_validated_have_none(tmp_path):
    trainer = fit(Steps(), tmp_path, epochs=3, check_val_every_n_epoch=2)
    assert level(tmp_path / "best.ckpt") == 0.3
    assert level(tmp_path / "last.ckpt") is None
    trainer.lightning_module.net.weight.data += 1
    trainer.save_checkpoint(tmp_path / "later.ckpt")
    assert level(tmp_path / "later.ckpt") is None


def test_an_average_that_has_not_changed_keeps_its_own_over_a_resumption(tmp_path):
    average = MovingAverage(0.5)
    fit(Steps(), tmp_path, average, epochs=2)
    resumed = MovingAverage(0.5)
    resumed.on_train_batch_end = lambda *_: None  # it does not change any more
    fit(Steps(), tmp_path, resumed, epochs=3, resume=tmp_path / "last.ckpt")
    assert level(tmp_path / "last.ckpt") == 0.8


def test_other_tasks_and_diverged_trainings_have_none(tmp_path):
    fit(Steps(task=build("genre", classes=["a", "b"])), tmp_path, epochs=1)
    assert level(tmp_path / "best.ckpt") is None
    broken = np.where(REFERENCES == 1, np.nan, 0.5)
    assert thresholds_of(TASK, Evaluation({}, np.arange(4), broken, REFERENCES, "not finite"), "valid") is None
