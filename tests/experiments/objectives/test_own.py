"""An objective of one's own, contrastive on two views of tracks without labels, through the ordinary learner."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from datasets.examples import Examples
from datasets.store import Header, Store, StoreWriter
from datasets.windows import Plan
from experiments.errors import UserError
from experiments.objectives import Objective, Supervised
from experiments.settings import DatamoduleSettings, ModuleSettings, TrainerSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.training.averaging import SnapshotAverage
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.phases import phases
from experiments.training.trainer import History, make_trainer
from experiments.windowing import Windowing
from models.augment import Chain
from models.frontends.base import FrontEnd
from models.inputs import Inputs
from models.network import Network

RATE, SAMPLES, TRACKS = 8000, 400, 14


class Levels(FrontEnd, name="levels of blocks"):
    """Mean square of every 100 samples, times a learned gain."""

    sample_rate, hop, item_shape = RATE, 100, (1,)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.seen: list[torch.dtype] = []

    def n_frames(self, samples: int) -> int:
        return samples // self.hop

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        level = self.gain * audio.unfold(-1, self.hop, self.hop).square().mean(-1, keepdim=True)
        self.seen += [(level @ torch.eye(1)).dtype]  # what autocast would make half precision
        return level


class Encoder(Network):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.shapes: set[tuple[int, ...]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.add(tuple(x.shape))
        return self.layer(x.flatten(1))


class Cosine(Objective):
    """Views of a track are to be alike; the projection is the objective's own."""

    needs_labels, views = False, 2

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(3, 2)

    def loss(self, network, batch):
        flat = batch["x"].flatten(0, 1)
        first, second = self.projection(network(flat)).unflatten(0, (-1, 2)).unbind(1)
        away = 1 - F.cosine_similarity(first, second).mean()
        return {"loss": away + 0.1, "away": away}


@pytest.fixture
def data(tmp_path):
    """Audio without labels, some of it shorter than a clip."""
    rng = np.random.default_rng(0)
    header = Header("audio", (), "int16", producer={"sample_rate": RATE}, fingerprint="audio")
    with StoreWriter(tmp_path / "audio", header) as writer:
        for number in range(TRACKS):
            samples = rng.normal(0, 3000, int(rng.integers(300, 3000)))
            writer.append(f"{number}.ogg", samples.astype(np.int16))
    ids = tuple(f"{number}.ogg" for number in range(TRACKS))
    splits = {"train": Examples(ids[:9], ids[:9], None), "valid": Examples(ids[9:], ids[9:], None)}
    splits["test"] = splits["valid"]
    settings = DatamoduleSettings(batch_size_train=4, batch_size_test=3)

    def make(views: int = 2) -> SplitLoaders:
        length = Windowing(4, Plan(SAMPLES, SAMPLES), RATE, Levels.hop)
        return SplitLoaders(settings, Store(tmp_path / "audio"), splits, length, seed=0, views=views)

    return make


def learner(**named) -> Learner:
    torch.manual_seed(0)
    chain = Chain.build([{"name": "polarity", "p": 1.0}, {"name": "gain", "p": 0.5}, {"name": "noise"}], audio=True)
    module = ModuleSettings(optimizer={"lr": 0.05, "warm_up_len": 1})
    inputs = Inputs(Levels(), 0.0, 0.5, audio=True)
    return Learner(Encoder(), inputs, Cosine(), {"made": "here"}, phases(module), chain, **named)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_it_trains_through_the_ordinary_learner_and_loader(data, tmp_path, precision):
    made, clips, curves = learner(), data(), History()
    settings = TrainerSettings(max_epochs=3, accelerator="cpu", precision=precision, limit_train_batches=2)
    trainer = make_trainer(settings, RunHandle(tmp_path, 0), curves, averaging=SnapshotAverage(2, 1))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    trainer.fit(made, clips)
    assert trainer.global_step == 6
    assert made.net.shapes == {(8, 4, 1), (6, 4, 1), (4, 4, 1)}
    assert set(made.inputs.frontend.seen) == {torch.float32}
    assert {"train/loss", "train/loss_away", "val/loss", "val/loss_away", "val/loss_swa"} <= curves.series.keys()
    names = {name for name in curves.series if name.startswith("val/")}
    assert names == {"val/loss", "val/loss_away", "val/loss_swa", "val/loss_away_swa"}  # no metrics of a task
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    trained = ("inputs.frontend.gain", "net.layer.weight", "objective.projection.weight")
    assert all(not torch.equal(saved[name], before[name]) for name in trained)
    assert {name for name in saved if name.startswith("net_swa.")} == {"net_swa.layer.weight", "net_swa.layer.bias"}
    trainer.test(made, clips, ckpt_path=tmp_path / "checkpoints" / "best.ckpt", verbose=False, weights_only=True)
    assert "test/loss" in trainer.callback_metrics


def test_validation_is_of_the_same_crops_every_time_and_weighs_examples_alike(data):
    made, clips = learner(), data()
    trainer = make_trainer(TrainerSettings(accelerator="cpu"), RunHandle(clips.features.path.parent, 0), History())
    losses = [trainer.validate(made, clips, verbose=False)[0]["val/loss"] for _ in range(2)]
    assert losses[0] == losses[1]
    with torch.no_grad():
        batches = [made.prepared(batch) for batch in clips.val_dataloader()]
        each = [(float(made.objective.loss(made.net, batch)["loss"]), len(batch["x"])) for batch in batches]
    assert losses[0] == pytest.approx(sum(loss * size for loss, size in each) / sum(size for _, size in each), rel=1e-5)


def test_views_are_different_crops_and_stored_samples(data):
    clips = data()
    clips.trainer = make_trainer(
        TrainerSettings(accelerator="cpu"), RunHandle(clips.features.path.parent, 0), History()
    )
    batch = next(iter(clips.train_dataloader()))
    assert batch["x"].shape == (4, 2, SAMPLES)
    assert batch["x"].dtype == torch.int16
    assert not torch.equal(batch["x"][:, 0], batch["x"][:, 1])
    assert "target" not in batch


def test_mixup_is_of_labels():
    mixup = Chain.build([{"name": "mixup", "alpha": 0.3}], audio=True)
    with pytest.raises(UserError, match="Cosine has no labels"):
        Learner(Encoder(), Inputs(Levels(), 0.0, 0.5, audio=True), Cosine(), {}, phases(ModuleSettings()), mixup)
    task = build("tagging", classes=["a", "b"])
    Learner(Encoder(), Inputs(Levels(), 0.0, 0.5), Supervised(task), {}, phases(ModuleSettings()), mixup)
