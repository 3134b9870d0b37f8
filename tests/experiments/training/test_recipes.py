"""From settings to augmentations and objectives."""

from __future__ import annotations

import pytest

from experiments.errors import UserError
from experiments.objectives import Distillation, Supervised
from experiments.settings import DatamoduleSettings, DistillationSettings, ModuleSettings
from experiments.tasks import build
from experiments.training.recipes import make_objective, training_augmentations, vector_augmentations


def names(chain) -> list[str]:
    return [name for name, _ in (*chain.before, *chain.after)]


def test_without_a_list_the_older_settings_say_what_is_done_in_their_order():
    module = ModuleSettings(mixup_alpha=0.3)
    assert names(training_augmentations(module, DatamoduleSettings(roll={"do": True}))) == [
        "roll",
        "mixup",
        "spec_augment",
    ]
    off = DatamoduleSettings(masking={"do": False})
    assert names(training_augmentations(ModuleSettings(mixup_alpha=0), off)) == []
    assert names(vector_augmentations(module)) == ["mixup"]


def test_a_list_takes_their_place():
    module = ModuleSettings(augmentations=[{"name": "polarity"}, {"name": "roll", "shift_range": 3}])
    assert names(training_augmentations(module, DatamoduleSettings(), audio=True)) == ["polarity", "roll"]
    with pytest.raises(UserError, match=r"module\.augmentations: polarity changes waveforms"):
        training_augmentations(module, DatamoduleSettings())


def test_samples_have_no_bands_to_mask():
    assert names(training_augmentations(ModuleSettings(), DatamoduleSettings(), True, ())) == ["mixup"]
    with pytest.raises(UserError, match="the network sees samples"):
        training_augmentations(ModuleSettings(augmentations=[{"name": "spec_augment"}]), DatamoduleSettings(), True, ())


def test_a_teacher_makes_distillation_of_supervision():
    task, teacher = build("tagging", classes=["a", "b"]), build("genre", classes=["a", "b"])
    assert type(make_objective(task, None, DistillationSettings(), "max")) is Supervised
    settings = DistillationSettings(logits="x", targets="soft", temperature=3, weight=0.2)
    made = make_objective(task, teacher, settings)
    assert isinstance(made, Distillation)
    assert (made.weight, made.temperature, made.teacher_task) == (0.2, 3, teacher)
