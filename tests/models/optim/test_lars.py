"""LARS beside its definition, written out in double precision."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from models.mlp import MLP
from models.optim import LARS, build, parameter_groups


def by_definition(weights, gradients, lr, momentum, decay, trust):
    """You et al., algorithm 1: a local rate a layer, momentum over steps that bear the rates."""
    velocity = np.zeros_like(weights)
    for gradient in gradients:
        local = trust * np.linalg.norm(weights) / (np.linalg.norm(gradient) + decay * np.linalg.norm(weights))
        velocity = momentum * velocity + lr * local * (gradient + decay * weights)
        weights = weights - velocity
    return weights


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 1e-2), (0.0, 0.0), (0.5, 0.3)])
def test_it_is_its_definition(momentum, decay):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(4, 3)), rng.normal(size=(6, 4, 3))
    parameter = torch.nn.Parameter(torch.tensor(start))
    made = LARS([parameter], lr=0.7, momentum=momentum, weight_decay=decay, trust=0.02)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        made.step()
    expected = by_definition(start, gradients, 0.7, momentum, decay, 0.02)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12)


def test_biases_and_norms_are_neither_scaled_nor_decayed():
    """There it is SGD with momentum."""
    network = MLP(5, 3, hidden=4)
    made = build("lars", parameter_groups(network, 0.1, 0.5, lars=True), 0.1, 0.5, momentum=0.9)
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for _ in range(3):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        made.step()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert torch.allclose(parameter, start[name] - 0.1 * (1 + 1.9 + 2.71)), name
        else:
            assert (parameter - start[name]).norm() < 0.01 * start[name].norm(), name


def test_weights_or_gradients_of_zero_give_finite_steps():
    parameter = torch.nn.Parameter(torch.zeros(3, 2))
    made = LARS([parameter], lr=0.5, momentum=0.0)
    parameter.grad = torch.zeros(3, 2)
    made.step()
    assert torch.equal(parameter, torch.zeros(3, 2))
    parameter.grad = torch.ones(3, 2)
    made.step()
    assert torch.equal(parameter, torch.full((3, 2), -0.5))


def test_its_state_can_be_saved():
    def step(parameter, made):
        parameter.grad = parameter.detach() + 1
        made.step()

    first = torch.nn.Parameter(torch.ones(2, 2))
    made = LARS([first], lr=0.5, weight_decay=0.1)
    step(first, made)
    second = torch.nn.Parameter(first.detach().clone())
    resumed = LARS([second], lr=0.5, weight_decay=0.1)
    resumed.load_state_dict(copy.deepcopy(made.state_dict()))
    step(first, made)
    step(second, resumed)
    assert torch.equal(first, second)
