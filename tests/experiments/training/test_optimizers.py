"""Which parameters are trained, and at which rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.errors import UserError
from experiments.settings import OptimizerSettings
from experiments.training.optimizers import freeze, make_optimizer, make_schedule
from models.maest import MAEST
from models.mlp import MLP
from models.optim import exempt, parameter_groups

DEPTH = 3


@pytest.fixture
def network() -> MAEST:
    return MAEST(dim=16, depth=DEPTH, heads=2, n_frames=46, n_bands=36, n_classes=3)


def named(network: nn.Module, parameters) -> set[str]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(parameter)] for parameter in parameters}


def trained(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_the_recipe_lets_everything_decay_at_one_rate(network):
    (group,) = parameter_groups(network, 2e-5, 1e-4)
    assert named(network, group["params"]) == trained(network)
    assert (group["lr"], group["weight_decay"]) == (2e-5, 1e-4)


def test_f26_biases_norms_tokens_and_positions_can_be_exempt(network):
    decaying, spared = parameter_groups(network, 2e-5, 1e-4, decay_all=False)
    assert (decaying["weight_decay"], spared["weight_decay"]) == (1e-4, 0.0)
    assert named(network, spared["params"]) == exempt(network)
    assert set(network.no_weight_decay()) < exempt(network)
    assert {"blocks.0.norm1.weight", "head.1.bias", "patch_embed.proj.bias"} < exempt(network)
    assert named(network, decaying["params"]) == {name for name in trained(network) if name not in exempt(network)}
    assert all(name.endswith("weight") for name in named(network, decaying["params"]))


def test_exempt_parameters_stay_where_gradients_leave_them(network):
    made = make_optimizer(network, OptimizerSettings(lr=0.1, weight_decay=0.5, decay_all=False))
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    for name, parameter in network.named_parameters():
        expected = before[name] if name in exempt(network) else 0.95 * before[name]
        assert torch.allclose(parameter, expected), name


def test_rates_fall_from_the_heads_to_the_input(network):
    groups = parameter_groups(network, 1.0, 0.0, layer_decay=0.5)
    rates = {name: group["lr"] for group in groups for name in named(network, group["params"])}
    assert rates["head.1.weight"] == groups[0]["lr"] == 1.0
    assert rates["norm.weight"] == rates["blocks.2.mlp.fc1.weight"] == 0.5
    assert rates["blocks.0.attn.qkv.weight"] == 0.125
    assert rates["patch_embed.proj.weight"] == rates["cls_token"] == rates["time_new_pos_embed"] == 0.0625
    assert rates.keys() == trained(network)


def test_a_schedule_moves_every_rate_alike(network):
    made = make_optimizer(network, OptimizerSettings(lr=1.0, layer_decay=0.5))
    schedule = torch.optim.lr_scheduler.LambdaLR(made, lambda epoch: 0.1**epoch)
    made.step()
    schedule.step()
    assert [group["lr"] for group in made.param_groups] == pytest.approx([0.1 * 0.5**depth for depth in range(5)])


@pytest.mark.parametrize("first", [1, 2, DEPTH, "all"])
def test_frozen_layers_stay_and_the_others_move(network, first):
    freeze(network, first)
    made = make_optimizer(network, OptimizerSettings(lr=0.1))
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    network(torch.randn(2, 46, 36)).square().sum().backward()
    made.step()
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    assert "head.1.weight" in moved
    for block in range(DEPTH):
        kept = first == "all" or block < first
        assert (f"blocks.{block}.mlp.fc1.weight" in moved) != kept
    assert not moved & {"cls_token", "patch_embed.proj.weight", "freq_new_pos_embed"}
    assert ("norm.weight" in moved) == (first not in ("all", DEPTH))


def test_freezing_nothing_asks_nothing_of_a_network():
    plain = MLP(2, 2, hidden=2)
    freeze(plain, 0)
    assert trained(plain) == {name for name, _ in plain.named_parameters()}
    with pytest.raises(UserError, match=r"module\.freeze=all: MLP does not tell its layers"):
        freeze(plain, "all")
    with pytest.raises(UserError, match=r"module\.optimizer\.layer_decay=0\.5: MLP does not tell"):
        make_optimizer(plain, OptimizerSettings(layer_decay=0.5))


def test_impossible_freezing_is_refused(network):
    with pytest.raises(UserError, match=r"module\.freeze=4: the network has 3 blocks; give 0 to 3, or all"):
        freeze(network, 4)
    network.requires_grad_(False)
    with pytest.raises(UserError, match="every parameter of the network is frozen"):
        make_optimizer(network, OptimizerSettings())


def test_the_table_of_optimisers(network):
    assert type(make_optimizer(network, OptimizerSettings())) is torch.optim.AdamW
    assert type(make_optimizer(network, OptimizerSettings(name="adam"))) is torch.optim.Adam
    assert type(make_optimizer(network, OptimizerSettings(adamw=False))) is torch.optim.Adam  # the older name
    made = make_optimizer(network, OptimizerSettings(name="sgd", momentum=0.8, nesterov=True, lr=0.1))
    assert type(made) is torch.optim.SGD
    assert (made.defaults["momentum"], made.defaults["nesterov"]) == (0.8, True)


def test_a_front_end_goes_with_the_input_and_an_objective_with_the_heads(network):
    """Of a front end with one learned number, and an objective with a projection."""
    front, objective = nn.ParameterList([torch.ones(1)]), nn.Linear(2, 2)
    rules = {"layer_decay": 0.5, "decay_all": False}
    groups = parameter_groups(network, 1.0, 0.1, **rules, inputs=front, objective=objective)
    groups_of = {id(parameter): group for group in groups for parameter in group["params"]}
    input_rate = next(group["lr"] for group in groups if network.cls_token in set(group["params"]))
    assert (groups_of[id(front[0])]["lr"], groups_of[id(front[0])]["weight_decay"]) == (input_rate, 0.0)
    assert (groups_of[id(objective.weight)]["lr"], groups_of[id(objective.weight)]["weight_decay"]) == (1.0, 0.1)
    assert groups_of[id(objective.bias)]["weight_decay"] == 0.0


@pytest.mark.parametrize("name", ["exp_lin", "cos_cyc", "exponential", "cyclic", "cosine", "constant", "plateau"])
def test_every_schedule_can_be_made_and_stepped(name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made = make_schedule(optimizer, OptimizerSettings(schedule_mode=name, lr=1.0), "val/loss")
    optimizer.step()
    made["scheduler"].step(*([1.0] if name == "plateau" else []))
    assert 0 < optimizer.param_groups[0]["lr"] <= 1
    assert made.get("interval") == {"cyclic": "step", "plateau": None}.get(name, "epoch")
