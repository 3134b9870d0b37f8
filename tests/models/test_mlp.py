"""The probe with one hidden layer: what it computes."""

from __future__ import annotations

import pytest
import torch

from models.mlp import MLP


def test_it_is_linear_relu_dropout_linear():
    torch.manual_seed(0)
    probe, x = MLP(6, 3, hidden=5), torch.randn(4, 6)
    first, last = probe.net[0], probe.net[3]
    expected = (x @ first.weight.T + first.bias).clamp_min(0) @ last.weight.T + last.bias
    torch.testing.assert_close(probe.eval()(x), expected)
    assert probe.net[2].p == 0.5
    assert probe.hyperparameters == {"n_in": 6, "n_out": 3, "hidden": 5, "dropout": 0.5}


def test_dropout_is_of_the_hidden_layer_alone():
    probe = MLP(3, 2, hidden=4, dropout=0.99).train()
    torch.nn.init.ones_(probe.net[0].weight)
    torch.nn.init.zeros_(probe.net[3].bias)
    outputs = torch.stack([probe(torch.ones(1, 3))[0] for _ in range(20)])
    assert (outputs == 0).all(dim=1).sum() > 10


def test_a_width_below_one_is_refused():
    with pytest.raises(ValueError, match="hidden=0"):
        MLP(3, 2, hidden=0)
