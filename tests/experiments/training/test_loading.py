"""Loaders: every process its own batches, an epoch that goes on, weights counted once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from datasets.examples import Examples
from datasets.windows import Plan
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings, TrainerSettings
from experiments.training import loading
from experiments.training.loading import SplitLoaders
from experiments.windowing import Windowing

FRAMES, BANDS, TRACKS = 4, 2, 26
LENGTH = Windowing(FRAMES, Plan(FRAMES, FRAMES), 1.0)


class Features:
    """Mels that tell their track."""

    def length(self, identity):
        return FRAMES

    def read_crop(self, identity, start, length):
        return np.full((length, BANDS), float(identity), np.float32)


class Long(Features):
    """Of tracks with ten thousand places for a crop."""

    def length(self, identity):
        return 10_000 + FRAMES - 1


def clips(rank=0, world_size=1, seed=0, features=None, **settings) -> SplitLoaders:
    ids = tuple(str(number) for number in range(TRACKS))
    examples = Examples(ids, ids, np.ones((TRACKS, 1), np.float32))
    made = SplitLoaders(
        DatamoduleSettings(batch_size_train=3, **settings), features or Features(), {"train": examples}, LENGTH, seed
    )
    device = SimpleNamespace(root_device=SimpleNamespace(type="cpu"))
    made.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, local_rank=0, strategy=device)
    return made


def tracks(loader, epoch=0) -> list[list[int]]:
    loader.sampler.set_epoch(epoch)
    return [batch["track"].tolist() for batch in loader]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_f17_processes_share_an_epoch_whatever_their_local_rank(world_size):
    """As on two nodes of two: local ranks repeat, global ones do not; the last share is padded, none is shorter."""
    shares = [np.concatenate(tracks(clips(rank, world_size).train_dataloader())) for rank in range(world_size)]
    assert {len(share) for share in shares} == {-(-TRACKS // world_size)}
    drawn = np.concatenate(shares)
    assert set(drawn) == set(range(TRACKS))
    assert len(drawn) - TRACKS < world_size


def test_f17_the_seed_of_the_run_moves_the_draws():
    assert tracks(clips(seed=0).train_dataloader()) == tracks(clips(seed=0).train_dataloader())
    assert tracks(clips(seed=0).train_dataloader()) != tracks(clips(seed=1).train_dataloader())


def test_workers_cut_different_crops_and_the_same_ones_for_a_seed():
    """Random numbers are of the draw, not of the process: nothing is drawn twice, whoever draws it."""

    def starts(num_workers, seed, epoch):
        loader = clips(seed=seed, features=Long(), num_workers=num_workers).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return [start for batch in loader for start in batch["start"].tolist()]

    alone, other = starts(0, 0, 0), starts(0, 0, 1)
    assert starts(2, 0, 0) == alone
    assert starts(2, 0, 1) == other
    assert len({*alone, *other, *starts(2, 1, 0)}) > 3 * TRACKS - 3  # of ten thousand places, hardly one twice


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_loader_goes_on_in_the_middle_of_an_epoch(num_workers, epoch):
    whole = clips(num_workers=num_workers).train_dataloader()
    expected, following = tracks(whole, epoch), tracks(whole, epoch + 1)
    whole.sampler.set_epoch(epoch)
    batches = iter(whole)
    for _ in range(4):
        next(batches)
    state = whole.state_dict()
    resumed = clips(num_workers=num_workers).train_dataloader()
    resumed.load_state_dict(state)
    assert len(resumed) == len(whole) == 9
    iterator = iter(resumed)  # Lightning makes it before it tells the epoch
    resumed.sampler.set_epoch(epoch)
    assert [batch["track"].tolist() for batch in iterator] == expected[4:]
    assert resumed.state_dict() == {**state, "batches": 9}
    assert tracks(resumed, epoch + 1) == following


def test_a_state_from_the_end_of_an_epoch_leaves_nothing_out_of_the_next():
    first = clips().train_dataloader()
    tracks(first, 0)
    resumed = clips().train_dataloader()
    resumed.load_state_dict(first.state_dict())
    assert tracks(resumed, 1) == tracks(first, 1)


@pytest.mark.parametrize("now", [{"world_size": 2}, {"batch_size_train": 4}])
def test_a_middle_is_one_of_the_same_batches(now):
    first = clips().train_dataloader()
    next(iter(first))
    other = clips(**{key: value for key, value in now.items() if key == "world_size"})
    other.settings = other.settings.model_copy(update=now)
    resumed = other.train_dataloader()
    resumed.load_state_dict(first.state_dict())
    with pytest.raises(UserError, match="batches of 3 on 1 processes, this is"):
        next(iter(resumed))


def test_f17_weights_are_counted_once(monkeypatch):
    counted = []
    monkeypatch.setattr(loading, "balanced_weights", lambda *arguments: counted.append(1) or np.ones(TRACKS))
    made = clips()
    made.train_dataloader()
    made.train_dataloader()
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("trainer", "processes", "steps"),
    [
        ({}, 1, 9),
        ({}, 2, 5),
        ({"accumulate_grad_batches": 4}, 1, 3),
        ({"limit_train_batches": 5, "accumulate_grad_batches": 2}, 1, 3),
    ],
)
def test_steps_of_an_epoch(trainer, processes, steps):
    assert clips().steps_per_epoch(TrainerSettings(**trainer), processes) == steps


def test_f15_validation_is_of_the_same_clips_every_time():
    """Of tracks longer than a clip, the one at the centre, whatever the seed and the epoch; of all tracks, in order."""

    class Long(Features):
        def length(self, identity):
            return 9 * FRAMES

        def read_crop(self, identity, start, length):
            return np.full((length, BANDS), 1000 * float(identity) + start, np.float32)

    seen = []
    for seed in (0, 1):
        made = clips(seed=seed)
        made.features, made.splits = Long(), {**made.splits, "valid": made.splits["train"]}
        loader = made.val_dataloader()
        seen += [np.concatenate([batch["x"][:, 0, 0] for batch in loader]) for _ in range(2)]
    assert all(np.array_equal(once, seen[0]) for once in seen)
    assert seen[0].tolist() == [1000 * track + 4 * FRAMES for track in range(TRACKS)]
    made.whole = True
    assert len(np.concatenate([batch["x"] for batch in made.val_dataloader()])) == 9 * TRACKS


@pytest.mark.parametrize(
    ("kind", "targets", "common"),
    [
        ("values", np.arange(8, dtype=np.float32).reshape(4, 2), None),
        ("class", np.array([2, 2, 2, 0]), 0),
        ("class", np.array([120.2, 119.8, 120, 90], np.float32), 0),
    ],
)
def test_rare_classes_and_tempi_are_drawn_more_often_and_values_alike(kind, targets, common):
    ids = tuple("abcd")
    examples = Examples(ids, ids, targets, kind)
    settings = DatamoduleSettings(sampler={"sample_weight_offset": 0})
    weights = SplitLoaders(settings, Features(), {"train": examples}, LENGTH, 0).weights
    assert weights[0] == weights[1] == weights[2]
    assert weights[3] == (weights[0] if common is None else pytest.approx(3 * weights[0]))
