"""What Lightning says reaches the run as series, checkpoints and information."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader, TensorDataset

from experiments.tracking import RunLogger
from experiments.tracking.journal import Journal, read
from experiments.tracking.run import Recorder, RunHandle


class Line(pl.LightningModule):
    """Learns a line; its validation score gets better and then worse."""

    def __init__(self, scores: tuple[float, ...] = (0.2, 0.6, 0.4)):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)
        self.scores = scores

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = (self.line(batch[0]) ** 2).mean()
        self.log("train/loss", loss)
        self.log("train/odd", torch.tensor(float("nan") if index == 1 else 1.0))
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("val/map", self.scores[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.fixture
def trained(journal: Journal) -> tuple[list[dict[str, Any]], Path]:
    """Records of three epochs of four steps, with the best two checkpoints and the last."""
    pl.seed_everything(0, verbose=False)
    recorder = Recorder(journal)
    data = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=1)
    checkpoints = ModelCheckpoint(
        dirpath=journal.directory / "checkpoints",
        filename="best-{epoch}",
        monitor="val/map",
        mode="max",
        save_top_k=1,
        save_last=True,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=RunLogger(RunHandle(journal.directory, 0, recorder)),
        callbacks=[checkpoints],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Line(), data, data)
    recorder.flush()
    return list(read(journal.directory)), journal.directory


def series(records: list[dict[str, Any]], name: str) -> list[list[float]]:
    return [point for r in records if r["kind"] == "metrics" and r["name"] == name for point in r["points"]]


def information(records: list[dict[str, Any]], key: str) -> Any:
    found = [r["set"][f"info.{key}"] for r in records if r["kind"] == "info" and f"info.{key}" in r["set"]]
    return found[-1]


def test_training(trained: tuple[list[dict[str, Any]], Path]) -> None:
    """One fit, everything that follows from it."""
    records, directory = trained
    assert [step for step, _, _ in series(records, "train/loss")] == list(range(12))
    assert [step for step, _, _ in series(records, "val/map")] == [3, 7, 11]
    assert [value for _, value, _ in series(records, "val/map")] == pytest.approx([0.2, 0.6, 0.4])
    assert "epoch" not in {r["name"] for r in records if r["kind"] == "metrics"}
    assert information(records, "epochs") == {"0": 0, "1": 4, "2": 8}
    assert [step for step, _, _ in series(records, "train/odd")] == [s for s in range(12) if s % 4 != 1]
    assert information(records, "nonfinite")["train/odd"] == {"count": 3, "first": 1, "last": 9}
    assert information(records, "best") == {
        "metric": "val/map",
        "value": pytest.approx(0.6),
        "epoch": 1,
        "step": 8,
        "checkpoint": "best-epoch=1.ckpt",
    }
    checkpoints = [r for r in records if r["kind"] == "checkpoint"]
    assert [(c["name"], c["best"]) for c in checkpoints] == [
        ("best-epoch=0.ckpt", True),
        ("last.ckpt", False),
        ("best-epoch=1.ckpt", True),
        ("last.ckpt", False),
    ]
    last = checkpoints[-1]
    assert last["path"] == "checkpoints/last.ckpt"
    assert last["bytes"] == (directory / last["path"]).stat().st_size
    assert (last["epoch"], last["step"], last["score"]) == (1, 8, None)
    assert checkpoints[2]["score"] == pytest.approx(0.6)
    json.dumps(records, allow_nan=False)


def test_hooks_have_the_names_that_lightning_calls() -> None:
    for hook in ("log_metrics", "log_hyperparams"):
        theirs = list(inspect.signature(getattr(Logger, hook)).parameters)
        assert list(inspect.signature(getattr(RunLogger, hook)).parameters)[: len(theirs)] == theirs


def test_parameters_are_left_to_the_configuration(journal: Journal) -> None:
    logger = RunLogger(RunHandle(journal.directory, 0, Recorder(journal)))
    logger.log_hyperparams({"lr": 0.1})
    assert list(read(journal.directory)) == []
    assert logger.save_dir == str(journal.directory)


def test_how_fast_a_training_runs_is_no_series_beside_what_it_learns(journal: Journal) -> None:
    recorder = Recorder(journal)
    logger = RunLogger(RunHandle(journal.directory, 0, recorder), beside=("train/clips_per_second", "train/data_wait"))
    logger.log_metrics({"train/clips_per_second": 1234.5678, "train/data_wait": 0.25}, step=0)
    logger.log_metrics({"train/loss": 0.5, "train/lr": 1e-3}, step=0)
    logger.log_metrics({"train/clips_per_second": 1300.0, "train/data_wait": 0.125}, step=1)
    recorder.flush()
    records = list(read(journal.directory))
    assert {r["name"] for r in records if r["kind"] == "metrics"} == {"train/loss", "train/lr"}
    shown = [r["set"]["info.throughput"] for r in records if r["kind"] == "info"]
    assert shown == [{"clips_per_second": 1235.0, "data_wait": 0.25}, {"clips_per_second": 1300.0, "data_wait": 0.125}]


def test_of_a_long_run_every_hundredth_epoch_is_noted(journal: Journal) -> None:
    logger = RunLogger(RunHandle(journal.directory, 0, Recorder(journal)))
    for epoch in range(2501):
        logger.log_metrics({"epoch": epoch, "train/loss": 1.0}, 194 * epoch)
    noted = {int(epoch): step for epoch, step in logger._epochs.items()}
    assert list(noted) == [*range(100), *range(100, 1000, 10), *range(1000, 2501, 100)]
    assert all(step == 194 * epoch for epoch, step in noted.items())
    assert (journal.directory / "journal.jsonl").stat().st_size < 600_000
