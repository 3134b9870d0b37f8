"""What a validation of a contrastive training says: the same every time, of augmented views, for any split."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.objectives import Contrastive
from experiments.settings import TrainerSettings
from experiments.tracking import RunHandle
from experiments.training.learner import repeated
from experiments.training.trainer import History, make_trainer
from models.augment import Chain
from models.losses.nt_xent import nt_xent
from tests.experiments.training.contrastive_toys import learner, loaders, make_store

NAMES = {"loss", "top1", "top5", "alignment", "uniformity", "rank"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return loaders(make_store(tmp_path_factory.mktemp("store")))


def validated(made, clips, folder) -> dict[str, float]:
    trainer = make_trainer(TrainerSettings(accelerator="cpu"), RunHandle(folder, 0), History())
    return {name.removeprefix("val/"): value for name, value in trainer.validate(made, clips, verbose=False)[0].items()}


def kept(tracks: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(tracks, 1, 8))
    projected = (own + rng.normal(size=(tracks, 2, 8))).astype(np.float32)
    return {
        "projected": projected,
        "embedded": rng.normal(size=(tracks, 5)).astype(np.float32),
        "track": np.arange(tracks),
    }


def test_it_is_augmented_as_the_training_and_the_same_every_time(clips, tmp_path):
    made = learner()
    torch.manual_seed(3)
    first = validated(made, clips, tmp_path)
    torch.manual_seed(4)
    assert validated(made, clips, tmp_path) == first
    assert first.keys() == NAMES
    made.augmentations = Chain(after=(("bands upside down", lambda x: x.flip(-1)),))
    assert validated(made, clips, tmp_path)["loss"] != pytest.approx(first["loss"], rel=1e-3)


def test_random_draws_of_the_training_go_on_as_if_there_had_been_no_validation():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with repeated((5, torch.device("cpu"))):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with repeated((5, torch.device("cpu"))):
        assert torch.equal(torch.rand(3), inside)


def test_the_loss_of_a_split_of_one_batch_is_that_of_the_training():
    given = kept(16)
    first, second = torch.from_numpy(given["projected"]).unbind(1)
    scores = Contrastive(5, size=8, temperature=0.2, batch=16).evaluate(given, None).scores
    assert scores["loss"] == pytest.approx(float(nt_xent(first, second, 0.2)), rel=1e-5)
    assert scores.keys() == NAMES


@pytest.mark.parametrize("tracks", [20, 64, 200])
def test_the_loss_does_not_depend_on_the_size_of_the_split(tracks):
    objective = Contrastive(5, size=8, batch=64)
    losses = [objective.evaluate(kept(tracks, seed), None).scores["loss"] for seed in range(20)]
    alone = [nt_xent(*torch.from_numpy(kept(64, seed)["projected"]).unbind(1)) for seed in range(100, 140)]
    assert np.mean(losses) == pytest.approx(float(torch.stack(alone).mean()), abs=0.05)


def test_one_track_has_nothing_to_be_told_from():
    scores = Contrastive(5, size=8, batch=4).evaluate(kept(1), None).scores
    assert scores["loss"] == 0


def test_curves_of_every_measure_are_drawn():
    drawn = {name for names in Contrastive.panels.values() for name in names}
    assert drawn == NAMES - {"loss"}
