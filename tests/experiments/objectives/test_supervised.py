"""Supervised learning of tasks over time, and how windows of a track become its prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from experiments.errors import UserError
from experiments.objectives import Supervised
from experiments.tasks import build
from experiments.tasks.base import Task


class Beats(Task):
    """A target a frame; windows are laid one behind another."""

    name, annotations, kind, primary, clip_level = "beats", ("beats",), "values", "error", False
    options, classes = {}, ("beat",)

    def encode(self, annotation):
        return np.asarray(annotation, np.float32)

    def loss(self, outputs, targets, mask=None):
        error = (outputs - targets).square()
        return (error * mask).sum() / mask.sum() if mask is not None else error.mean()

    def decode(self, outputs):
        return outputs

    def join(self, predictions, starts=None, how="mean", frames=None):
        return np.concatenate(predictions[np.argsort(starts)])

    def score(self, predictions, references):
        errors = [np.abs(one[: len(other)] - other).mean() for one, other in zip(predictions, references, strict=True)]
        return {"error": float(np.mean(errors)), "n_items": float(len(references))}


class Same(nn.Module):
    def forward(self, x):
        return x


def test_a_task_over_time_has_masks_and_predictions_of_any_length():
    objective, network = Supervised(Beats()), Same()
    x = torch.arange(12.0).reshape(3, 4)
    batch = {"x": x, "target": x + 1, "mask": torch.tensor([[1.0] * 4, [1.0] * 4, [1.0, 0, 0, 0]])}
    assert float(objective.loss(network, batch)["loss"]) == 1
    kept = {**objective.keep(network, batch), "track": np.array([0, 0, 1]), "window": np.arange(3)}
    kept["start"] = np.array([4.0, 0.0, 0.0])
    wholes = {0: np.float32([5, 6, 7, 8, 1, 2]), 1: np.float32([8.5])}
    evaluation = objective.evaluate(kept, wholes.__getitem__)
    assert [len(one) for one in evaluation.predictions] == [8, 4]
    assert evaluation.predictions[0].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert evaluation.references[1].tolist() == [8.5]
    assert evaluation.scores["loss"] == 1
    assert evaluation.scores["error"] == pytest.approx((1 + 0.5) / 2)
    mixed = {**batch, "mix": (torch.tensor([2, 1, 0]), torch.tensor([0.5, 0.5, 0.5]))}
    assert float(objective.loss(network, mixed)["loss"]) > 1  # against the mixed targets, where both are known


def test_clips_of_a_track_need_not_be_neighbours_and_are_joined_as_asked():
    task = build("genre", classes=list("abc"))
    outputs = np.float32([[3, 0, 0], [0, 9, 0], [0, 0, 2], [3, 0, 0], [0, 0, 5]])
    kept = {"outputs": outputs, "target": np.array([0, 1, 2, 0, 2]), "track": np.array([7, 3, 5, 7, 5])}
    kept["window"] = np.arange(5)
    mean = Supervised(task).evaluate(kept, None)
    decoded = task.decode(outputs)
    assert mean.tracks.tolist() == [3, 5, 7]
    sums = np.zeros((3, 3))
    np.add.at(sums, [2, 0, 1, 2, 1], decoded)
    np.testing.assert_array_equal(mean.predictions, sums / np.array([[1], [2], [2]]))
    assert mean.references.tolist() == [1, 2, 0]
    largest = Supervised(task, "max").evaluate(kept, None)
    assert largest.predictions[1].tolist() == decoded[[2, 4]].max(0).tolist()
    with pytest.raises(UserError, match="way to join"):
        Supervised(task, "middle").evaluate(kept, None)


def test_what_cannot_be_scored_is_told_beside_the_loss():
    task = build("tagging", classes=["a", "b"])
    kept = {"outputs": np.zeros((2, 2), np.float32), "target": np.zeros((2, 2), np.float32)}
    kept |= {"track": np.arange(2), "window": np.arange(2)}
    evaluation = Supervised(task).evaluate(kept, None)
    assert evaluation.scores == {"loss": pytest.approx(np.log(2))}
    assert "none of the 2 tags can be scored" in evaluation.problem
