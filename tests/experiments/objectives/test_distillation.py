"""A student: both losses, both mixed alike, both reported; it is evaluated by the annotations."""

from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch import nn

from datasets.examples import Examples
from datasets.store import Store, StoreWriter
from datasets.teachers import Rule, Teacher
from datasets.windows import Plan
from experiments.inference.extraction import header
from experiments.objectives.distillation import teacher_loss
from experiments.settings import (
    DatamoduleSettings,
    DistillationSettings,
    ModuleSettings,
    TrainerSettings,
)
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.training.averaging import SnapshotAverage
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.phases import phases
from experiments.training.recipes import make_objective, training_augmentations
from experiments.training.trainer import History, make_trainer
from experiments.windowing import Windowing
from models.frontends import MusiCNNMel
from models.inputs import Inputs
from models.maest import MAEST
from models.network import Network, Outputs

FRAMES, BANDS, TEACHER = 20, 4, 3


class Level(Network):
    """Logits from the mean level of each band, and others for a second head where there is one."""

    def __init__(self, two: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(BANDS))
        self.second = nn.Parameter(torch.zeros(TEACHER)) if two else None

    def forward(self, x: torch.Tensor) -> Outputs:
        level = x.mean(dim=1)
        first = level * self.scale
        return first if self.second is None else {"cls": first, "dist": level[:, :TEACHER] * self.second}


def learner(two=True, task="tagging", network=None, mixup_alpha=0.0, bands=BANDS, **distillation):
    student = build(task, classes=[f"band {band}" for band in range(bands)])
    teacher = build(task, classes=[f"of the teacher {number}" for number in range(TEACHER)]) if two else student
    module = ModuleSettings(mixup_alpha=mixup_alpha, optimizer={"lr": 0.01, "warm_up_len": 1})
    return Learner(
        network or Level(two),
        Inputs(MusiCNNMel(), 2.0, 0.5),
        make_objective(student, teacher, DistillationSettings(logits="somewhere", **distillation)),
        {"labels": list(student.classes)},
        phases(module),
        training_augmentations(module, DatamoduleSettings(masking={"do": False})),
    )


def cross_entropy(logits, targets):
    """Binary cross-entropy with logits, mean over everything, spelled out."""
    z, y = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    return float(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9])
def test_f10_each_head_has_its_own_loss_and_the_mean_of_both_is_trained(weight):
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(6, BANDS, generator=generator), torch.randn(6, TEACHER, generator=generator)
    batch = {"target": (first > 1).float(), "teacher": (second > 0).float()}
    losses = learner(weight=weight).objective.losses({"cls": first, "dist": second}, batch)
    labels, teacher = cross_entropy(first, batch["target"]), cross_entropy(second, batch["teacher"])
    assert float(losses["loss"]) == pytest.approx((1 - weight) * labels + weight * teacher, rel=1e-5)
    assert [float(losses[name]) for name in ("labels", "teacher")] == pytest.approx([labels, teacher], rel=1e-5)


def test_without_a_setting_it_is_the_mean_of_both():
    assert DistillationSettings(logits="x").weight == 0.5


def test_one_head_learns_from_both():
    outputs = torch.randn(6, BANDS, generator=torch.Generator().manual_seed(0))
    batch = {"target": (outputs > 1).float(), "teacher": (outputs > 0).float()}
    loss = learner(two=False).objective.losses(outputs, batch)["loss"]
    expected = cross_entropy(outputs, batch["target"]) + cross_entropy(outputs, batch["teacher"])
    assert float(loss) == pytest.approx(expected / 2, rel=1e-5)


@pytest.mark.parametrize("task", ["tagging", "genre"])
def test_both_targets_are_mixed_with_the_same_partners(task):
    torch.manual_seed(0)
    made = learner(task=task, mixup_alpha=0.3)
    captured = {}

    def keep(name):
        return lambda outputs, targets: captured.setdefault(name, targets).sum() * 0 + outputs.sum()

    made.objective.task.loss, made.objective.teacher_task.loss = keep("target"), keep("teacher")
    made.log = lambda *arguments, **named: None
    targets = torch.eye(BANDS) if task == "tagging" else torch.arange(BANDS)
    teacher = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])
    made.training_step({"x": torch.zeros(BANDS, FRAMES, BANDS), "target": targets, "teacher": teacher}, 0)
    assert not torch.equal(captured["target"], torch.eye(BANDS))
    assert torch.allclose(captured["teacher"], captured["target"] @ teacher, atol=1e-6)


@given(st.floats(0.5, 8.0), st.integers(0, 1000))
def test_soft_targets_of_classes_that_exclude_each_other(temperature, seed):
    generator = np.random.default_rng(seed)
    student, teacher = generator.normal(0, 3, (2, 5, TEACHER))
    target = softmax(teacher / temperature, axis=-1)
    said = log_softmax(student / temperature, axis=-1)
    expected = (target * (np.log(target) - said)).sum(-1).mean() * temperature**2
    task = build("genre", classes=list("abc"))
    loss = teacher_loss(task, torch.from_numpy(student), torch.from_numpy(target), temperature)
    assert float(loss) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    equal = teacher_loss(task, torch.from_numpy(teacher), torch.from_numpy(target), temperature)
    assert float(equal) == pytest.approx(0, abs=1e-5)


def test_soft_targets_of_independent_classes_are_a_cross_entropy():
    student = torch.randn(5, TEACHER, generator=torch.Generator().manual_seed(0))
    target = torch.rand(5, TEACHER, generator=torch.Generator().manual_seed(1))
    loss = teacher_loss(build("tagging", classes=list("abc")), student, target, 4.0)
    assert float(loss) == pytest.approx(cross_entropy(student, target), rel=1e-5)


@pytest.fixture
def clips(tmp_path):
    """Tracks of 15 to 90 frames whose loud band is their class, and a teacher without logits of two of them."""
    generator = np.random.default_rng(0)
    ids = [f"{number}.ogg" for number in range(24)]
    classes = np.arange(24) % BANDS
    with (
        StoreWriter(tmp_path / "mels", header("mel", (BANDS,), "level", {"made": "by hand"})) as mels,
        StoreWriter(tmp_path / "logits", header("logits", (TEACHER,), "logit", {"made": "by a teacher"})) as logits,
    ):
        for identity, number in zip(ids, classes, strict=True):
            level = generator.normal(1.5, 0.2, (int(generator.integers(16, 90)), BANDS))
            level[:, number] += 1.5
            mels.append(identity, level.astype(np.float32))
            if identity not in ("13.ogg", "20.ogg"):
                logits.append(identity, np.where(np.arange(TEACHER) == number, 4, -4)[None].repeat(3, 0))
    store = Store(tmp_path / "logits")

    def make():
        targets = np.eye(BANDS, dtype=np.float32)[classes]
        splits = {
            name: Examples(tuple(ids[part]), tuple(ids[part]), targets[part])
            for name, part in (("train", slice(0, 12)), ("valid", slice(12, 18)), ("test", slice(16, 24)))
        }
        settings = DatamoduleSettings(batch_size_train=4, batch_size_test=3)
        length = Windowing(FRAMES, Plan(FRAMES, FRAMES), 1.0)
        return SplitLoaders(settings, Store(tmp_path / "mels"), splits, length, 0, Teacher(store, Rule(), 30, 30))

    return make


class Student(Network):
    """A MAEST of two heads, all of it in a few thousand weights; repeats the few bands, so that a patch fits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = {"n_bands": 16, "n_frames": FRAMES, "dim": 8, "depth": 1, "heads": 1}
        self.inner = MAEST(n_classes=BANDS, n_classes_dist=TEACHER, distilled_type="separated", **size)

    def forward(self, x: torch.Tensor) -> Outputs:
        return self.inner(x.repeat_interleave(4, dim=2))


def test_f10_validation_reports_both_terms_and_is_of_the_annotations(clips, tmp_path):
    made, data, curves = learner(), clips(), History()
    settings, average = TrainerSettings(max_epochs=12, accelerator="cpu"), SnapshotAverage(start=9, every=2)
    trainer = make_trainer(settings, RunHandle(tmp_path, 0), curves, averaging=average)
    trainer.fit(made, data)
    assert {"train/loss", "train/loss_labels", "train/loss_teacher", "val/loss_teacher"} <= curves.series.keys()
    of_average, of_network = (dict(curves.series[f"val/loss_teacher{suffix}"]) for suffix in ("_swa", ""))
    assert all(loss > 0 and loss != of_network[step] for step, loss in of_average.items())
    assert np.isfinite([value for _, value in curves.series["val/loss_teacher"]]).all()
    assert curves.series["val/loss_teacher"][-1][1] < curves.series["val/loss_teacher"][0][1]
    losses = dict(curves.series["train/loss"])
    parts = (dict(curves.series[f"train/loss_{name}"]) for name in ("labels", "teacher"))
    means = [(a + b) / 2 for a, b in zip(*(part.values() for part in parts), strict=True)]
    assert list(losses.values()) == pytest.approx(means, rel=1e-5)
    trainer.test(made, data, verbose=False)
    assert made.evaluation.scores["roc_auc"] == 1.0
    assert made.evaluation.predictions.shape == (8, BANDS)
    assert not any(name.startswith("test/loss_teacher") for name in trainer.callback_metrics)


class Stop(L.Callback):
    """Ends a training as an error would, behind a step."""

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == 7:
            raise RuntimeError("killed")


def test_a_distillation_that_goes_on_ends_with_the_same_weights(clips, tmp_path):
    def fit(folder, stop=False, resume=None):
        made, data = learner(network=Student(), mixup_alpha=0.3), clips()
        settings = TrainerSettings(max_epochs=4, accelerator="cpu", checkpoint_every_n_steps=1)
        trainer = make_trainer(settings, RunHandle(tmp_path / folder, 0), History())
        trainer.callbacks += [Stop()] if stop else []
        trainer.fit(made, data, ckpt_path=resume, weights_only=True)
        return made.net.state_dict()

    whole = fit("whole")
    with pytest.raises(RuntimeError, match="killed"):
        fit("first", stop=True)
    continued = fit("second", resume=tmp_path / "first" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(value, continued[name]) for name, value in whole.items())
    assert not torch.equal(whole["inner.head_dist.weight"], Student().inner.head_dist.weight)
