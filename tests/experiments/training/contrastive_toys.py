"""Tracks and a network for contrastive training: a track is known by a few quiet bands, the loud ones are noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from datasets.examples import Examples
from datasets.store import Header, Store, StoreWriter
from datasets.windows import Plan
from experiments.objectives import Contrastive
from experiments.settings import DatamoduleSettings, ModuleSettings, TrainerSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.training.averaging import SnapshotAverage
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.online_probe import OnlineProbe
from experiments.training.phases import phases
from experiments.training.trainer import History, make_trainer
from experiments.windowing import Windowing
from models.augment import Chain
from models.frontends import MusiCNNMel
from models.inputs import Inputs
from models.network import Network

FRAMES, BANDS, CLASSES = 6, 8, 4
TRAIN, VALID = 48, 24


class Bottleneck(Network):
    """Batch norm, dropout, and three values of the mean over time."""

    layer_names = ("values",)

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout, self.linear = nn.BatchNorm1d(BANDS), nn.Dropout(0.03), nn.Linear(BANDS, 3)

    def embed(self, x: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        return {"values": self.linear(self.dropout(self.norm(x.mean(1))))[:, None]}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_empty(len(x), 0)


def genre(track: int) -> int:
    return track % CLASSES


def make_store(folder: Path) -> Path:
    """A store of tracks that differ in four quiet bands; those of a genre are alike there."""
    rng = np.random.default_rng(0)
    header = Header("mel", (BANDS,), "float32", producer={"made": "here"}, fingerprint="bands")
    with StoreWriter(folder / "mels", header) as writer:
        for track in range(TRAIN + VALID):
            own = 2 * np.eye(BANDS)[genre(track)] + 0.3 * rng.normal(size=BANDS)
            frames = np.tile(own, (60, 1)) + 0.1 * rng.normal(size=(60, BANDS))
            frames[:, CLASSES:] = 3 * np.repeat(rng.normal(size=(10, CLASSES)), 6, axis=0)
            writer.append(f"{track}.ogg", frames.astype(np.float32))
    return folder / "mels"


def examples(labelled: bool = False) -> dict[str, Examples]:
    numbers = {"train": range(TRAIN), "valid": range(TRAIN, TRAIN + VALID)}
    made = {}
    for split, tracks in numbers.items():
        ids = tuple(f"{track}.ogg" for track in tracks)
        made[split] = Examples(ids, ids, np.array([*map(genre, tracks)]) if labelled else None, "class")
    return {**made, "test": Examples((), (), None)}


def loaders(store: Path) -> SplitLoaders:
    settings = DatamoduleSettings(batch_size_train=16, batch_size_test=10)
    windowing = Windowing(FRAMES, Plan(FRAMES, FRAMES), 1.0)
    whole = {"views": 2, "whole_batches": True, "audio_dir": store}
    return SplitLoaders(settings, Store(store), examples(), windowing, seed=0, **whole)


def learner(objective: type[Contrastive] = Contrastive, lr: float = 0.02) -> Learner:
    torch.manual_seed(0)
    chain = Chain.build([{"name": "roll", "shift_range": 3}], audio=False)
    module = ModuleSettings(optimizer={"lr": lr, "schedule_mode": "constant", "name": "adam"}, do_swa=False)
    made = Inputs(MusiCNNMel(), 0.0, 0.5)
    return Learner(
        Bottleneck(), made, objective(3, hidden=16, size=8, batch=16), {"made": "here"}, phases(module), chain
    )


def probe(clips: SplitLoaders, **given) -> OnlineProbe:
    task = build("genre", classes=[f"genre {number}" for number in range(CLASSES)])
    return OnlineProbe(task, examples(labelled=True), clips.features, clips.windowing, **given)


def fit(
    folder: Path,
    made: Learner,
    clips: SplitLoaders,
    watching: Sequence[Callback] = (),
    epochs: int = 4,
    goes_on: bool = False,
) -> History:
    """Train in a folder, or go on with the training there; returns the curves."""
    curves, folder = History(), folder / "run"
    folder.mkdir(exist_ok=True)
    settings = TrainerSettings(max_epochs=epochs, accelerator="cpu")
    trainer = make_trainer(settings, RunHandle(folder, 0), curves, 3, SnapshotAverage(2, 1), watching=watching)
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(made, clips, ckpt_path=last if goes_on else None, weights_only=True)
    return curves
