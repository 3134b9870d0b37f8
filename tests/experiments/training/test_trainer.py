"""The trainer of a run: checkpoints that survive an interruption, and what a continued training still knows."""

from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from experiments.errors import UserError
from experiments.tasks import build
from experiments.training.checkpointing import AtomicCheckpoints, KeepBest, KeepEvery
from experiments.training.fitting import best_epoch
from experiments.training.progress import EpochLine, epoch_line
from experiments.training.trainer import History


class Scripted(L.LightningModule):
    """Its validation loss of every epoch is given."""

    def __init__(self, losses):
        super().__init__()
        self.weight, self.losses = torch.nn.Parameter(torch.zeros(1)), losses

    def training_step(self, batch, _):
        loss = (self.weight * batch).sum()
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch, _):
        self.log("val/loss", torch.tensor(self.losses[self.current_epoch]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder, losses, epochs, resume=None, more=(), **options):
    """Train in a folder; its trainer, and what was logged."""
    keep = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    curves = History()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpoints()],
        callbacks=[
            KeepBest(**keep),
            L.pytorch.callbacks.ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **keep),
            curves,
            *more,
        ],
        **options,
    )
    batches = DataLoader(torch.ones(2), batch_size=1)
    trainer.fit(Scripted(losses), batches, batches, ckpt_path=resume, weights_only=True)
    return trainer, curves


def test_every_epoch_is_in_the_curve_of_the_training(tmp_path):
    _, curves = fit(tmp_path, [0.3] * 5, 5, check_val_every_n_epoch=2)
    assert [step for step, _ in curves.series["train/loss"]] == [2, 4, 6, 8, 10]
    assert [step for step, _ in curves.series["val/loss"]] == [4, 8]


@pytest.mark.parametrize("epochs", [2, 4])
def test_a_continued_training_keeps_thebest_epoch_of_the_first(tmp_path, epochs):
    losses = [0.1, 0.5, 0.4, 0.3]
    fit(tmp_path / "first", losses, 2)
    trainer, curves = fit(tmp_path / "second", losses, epochs, tmp_path / "first" / "last.ckpt")
    best = torch.load(tmp_path / "second" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 0
    assert float(trainer.checkpoint_callbacks[0].best_model_score) == pytest.approx(0.1)
    assert [value for _, value in curves.series["val/loss"]] == pytest.approx(losses[:epochs])
    assert best_epoch(curves) == {"val/loss": pytest.approx(0.1)}


def test_a_continued_training_replaces_the_best_by_a_better_one(tmp_path):
    losses = [0.5, 0.6, 0.2]
    fit(tmp_path / "first", losses, 2)
    fit(tmp_path / "second", losses, 3, tmp_path / "first" / "last.ckpt")
    assert torch.load(tmp_path / "second" / "best.ckpt", weights_only=True)["epoch"] == 2
    assert torch.load(tmp_path / "first" / "best.ckpt", weights_only=True)["epoch"] == 0


def test_checkpoints_of_every_so_many_epochs_stay_and_a_training_goes_on_from_them(tmp_path):
    told = []
    kept = KeepEvery(tmp_path, 2, lambda path, epoch, step: told.append((path.name, epoch, step)))
    fit(tmp_path, [0.5] * 5, 5, more=[kept])
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == [
        "best.ckpt",
        "epoch=2.ckpt",
        "epoch=4.ckpt",
        "last.ckpt",
    ]
    assert told == [("epoch=2.ckpt", 1, 4), ("epoch=4.ckpt", 3, 8)]
    _, curves = fit(tmp_path / "again", [0.5] * 5, 5, tmp_path / "epoch=4.ckpt")
    assert [step for step, _ in curves.series["train/loss"]] == [2, 4, 6, 8, 10]


def test_thebest_epoch_is_never_one_without_a_loss():
    curves = History()
    curves.series = {
        "val/loss": [(3, 0.5), (6, float("nan")), (9, 0.4)],
        "val/ap": [(9, 0.7)],  # nothing could be scored before
        "train/loss": [(3, 0.1)],
    }
    assert best_epoch(curves) == {"val/loss": 0.4, "val/ap": 0.7}
    curves.series = {"val/loss": [(3, float("nan"))]}
    assert best_epoch(curves) == {}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"taken/best\.ckpt: the checkpoint could not be written"):
        AtomicCheckpoints().save_checkpoint({}, tmp_path / "taken" / "best.ckpt")


def test_the_time_left_is_that_of_the_epochs_since_a_training_goes_on(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("experiments.training.progress.time.monotonic", lambda: now[0])
    line = EpochLine()
    trainer = SimpleNamespace(
        current_epoch=0, max_epochs=10, callbacks=[], callback_metrics={}, progress_bar_metrics={}
    )
    line.on_fit_start(trainer, None)
    trainer.current_epoch = 7  # of the checkpoint, which has been read since
    line.on_train_start(trainer, None)
    now[0] += 30
    line.on_train_epoch_end(trainer, None)
    assert "epoch 8/10  (30 s, 60 s left)" in "".join(capsys.readouterr())


def test_epoch_line_has_fresh_figures_only(capsys):
    line, figures = EpochLine(), {"train/loss": 1.5, "val/loss": 2.0, "val/roc_auc": 0.5}
    trainer = SimpleNamespace(
        current_epoch=0, max_epochs=3, callbacks=[], callback_metrics=figures, progress_bar_metrics={}
    )
    line.on_train_start(trainer, None)
    line.on_validation_end(trainer, None)
    line.on_train_epoch_end(trainer, None)
    assert "val/loss 2  train/loss 1.5  val/roc_auc 0.5" in capsys.readouterr().err
    line.on_train_epoch_end(trainer, None)
    said = capsys.readouterr().err
    assert "train/loss 1.5" in said
    assert "val/" not in said


def test_epoch_line_shows_what_a_task_is_judged_by():
    shown = [f"val/{name}" for name in build("beats").shown]
    figures = dict.fromkeys(["val/beat_amlc", "val/beat_amlt", *shown, "val/loss", "train/loss"], 0.51234)
    said = epoch_line("epoch 17/100", figures, "(3000 s, 20000 s left)", ["val/loss", *shown])
    assert "val/f1 0.5123  val/beat_f1 0.5123  val/downbeat_f1 0.5123" in said
    assert "amlc" not in said


def test_epoch_line_is_short():
    figures = {f"val/metric_{number}": number / 7 for number in range(30)} | {"train/loss": 1.23456}
    said = epoch_line("epoch 8/10", figures, "(30 s, 60 s left)")
    assert len(said) <= 120
    assert "train/loss 1.235" in said
    assert said.endswith("(30 s, 60 s left)")
