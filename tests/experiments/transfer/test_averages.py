"""Averages over the windows of a track, on numbers that can be worked out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from experiments.tasks import Genre, Tagging
from experiments.transfer.averages import predictions_by_average

TRACK = np.array([0, 0, 1, 2, 2, 2])
TASKS = {"tags": Tagging(classes=["one", "other"]), "class": Genre(classes=["one", "other"])}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_what_is_averaged():
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        head.bias.zero_()
    x = np.array([[0.0], [4.0], [1.0], [0.0], [0.0], [9.0]], np.float32)
    made = predictions_by_average(TASKS["tags"], head, x, TRACK)
    assert made["probabilities"][:, 0] == pytest.approx([(0.5 + sigmoid(4)) / 2, sigmoid(1), (1 + sigmoid(9)) / 3])
    assert made["logits"][:, 0] == pytest.approx(sigmoid(np.array([2.0, 1.0, 3.0])))


@given(st.integers(0, 2**30), st.sampled_from(sorted(TASKS)))
def test_with_a_linear_head_embeddings_and_logits_are_one(seed, kind):
    torch.manual_seed(seed)
    head, x = nn.Linear(5, 2), torch.randn(6, 5).numpy()
    made = predictions_by_average(TASKS[kind], head, x, TRACK)
    np.testing.assert_allclose(made["embeddings"], made["logits"], atol=1e-6)
    for predictions in made.values():
        assert predictions.shape == (3, 2)
        np.testing.assert_allclose(predictions[1], made["logits"][1], atol=1e-6)  # of one window


def test_a_hidden_layer_tells_them_apart():
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    made = predictions_by_average(TASKS["tags"], head, 5 * torch.randn(6, 5).numpy(), TRACK)
    assert np.abs(made["embeddings"] - made["logits"]).max() > 0.01
    assert next(head.parameters()).dtype == torch.float32
