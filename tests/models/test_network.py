"""What a network has without saying so: cost, shapes, a copy for inference, arguments that follow from its data."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.frontends import build
from models.inputs import Inputs
from models.maest import MAEST
from models.mlp import MLP
from models.network import main_head
from tests.models.toys import Levels, Toy


def toy(**arguments) -> Toy:
    torch.manual_seed(0)
    return Toy(**{"n_classes": 3, **arguments})


def test_the_default_layer_of_maest_is_block_7_of_its_paper():
    """Which counts from 1: what its authors extract by `transformer_block=6`."""
    network = MAEST(n_frames=64, dim=8, heads=2, depth=12)
    assert network.default_layer == "block_06"
    assert network.describe_layer("block_06") == {"block": 6}
    outputs = []
    network.eval().blocks[6].register_forward_hook(lambda _, inputs, output: outputs.append(output))
    tokens = network.embed(torch.randn(1, 64, 96), [network.default_layer])["block_06"]
    assert torch.equal(tokens[:, :2], outputs[0][:, :2])
    assert MAEST(n_frames=64, dim=8, heads=2, depth=4).default_layer == "block_02"


def test_without_outputs_it_is_the_last_by_which_it_was_trained():
    assert MAEST(n_classes=0, n_frames=64, dim=8, heads=2, depth=4).default_layer == "block_03"


def test_of_other_networks_it_is_the_last():
    assert toy().default_layer == "clip"
    assert toy().describe_layer("frames") == {"layer": "frames", "token_names": ["mean"]}


def test_logits_and_tokens_together_are_those_apart():
    network, x = toy(second=True).eval(), torch.randn(2, 9, 8)
    outputs, tokens = network.forward_and_embed(x, ["clip"])
    assert torch.equal(main_head(outputs), network(x)["one"])
    assert torch.equal(tokens["clip"], network.embed(x, ["clip"])["clip"])


@pytest.mark.parametrize("training", [True, False])
def test_the_shape_of_a_layer_is_found_without_a_trace(training):
    network = toy().train(training)
    state = copy.deepcopy(network.state_dict())
    assert network.embedding_shape("frames", (8,)) == (1, 6)
    assert network.training == training
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_cost_is_what_runs():
    network = toy(width=5)
    convolution, head = 18 * 5 * 8 * 3, 5 * 3
    assert network.macs((20, 8)) == convolution + head
    assert network.macs((20, 8), layer="clip") == convolution
    assert network.training


def test_a_copy_for_inference_leaves_the_network_alone():
    network = toy()
    prepared = network.prepared()
    assert network.training
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_network_remembers_the_arguments_it_was_made_of():
    assert Toy(3, width=5).hyperparameters == {"n_classes": 3, "bands": 8, "width": 5, "second": False}
    network = MAEST(n_frames=64, dim=8, depth=1, heads=2, s_patchout_f_indices=(1, 2))
    assert network.hyperparameters["s_patchout_f_indices"] == [1, 2]
    for again in (copy.deepcopy(network), MAEST(**network.hyperparameters)):
        assert again.hyperparameters == network.hyperparameters
    with pytest.raises(TypeError, match="unexpected keyword argument 'wdth'"):
        Toy(3, wdth=5)


def test_arguments_that_follow_from_the_data():
    frontend = build("musicnn")
    assert MAEST.derive(frontend, 300, 7) == {"n_classes": 7, "n_bands": 96, "n_frames": 300}
    assert set(MAEST.derive(frontend, 300, 7)) < set(MAEST.derived)
    assert Toy.derive(frontend, 300, 7) == {"n_classes": 7}


def test_what_a_network_does_not_say_is_nothing():
    network = MLP(4, 2)
    assert (network.parameter_layers(), network.no_weight_decay(), network.unused_heads()) == ([], (), ())
    assert network.from_published(network.state_dict()) is None


@pytest.mark.parametrize("samples", [torch.int16, torch.float32])
def test_inputs_are_normalised_frames(samples):
    frontend = Levels()
    audio = (torch.randn(2, 1000).clamp(-1, 1) * 20_000).to(torch.int16)
    given = audio if samples == torch.int16 else audio.float() / 32_768
    made = Inputs(frontend, 0.1, 0.2, audio=True)(given)
    torch.testing.assert_close(made, (frontend(audio.float() / 32_768) - 0.1) / 0.4)
    features = torch.randn(2, 5, 8).half()
    torch.testing.assert_close(Inputs(frontend, 0.1, 0.2)(features), (features.float() - 0.1) / 0.4)


def test_what_a_front_end_learns_is_part_of_the_inputs():
    inputs = Inputs(Levels(), 0.0, 0.5, audio=True)
    assert list(inputs.state_dict()) == ["frontend.gains"]
    inputs(torch.randn(2, 1000)).sum().backward()
    assert isinstance(inputs.frontend.gains, nn.Parameter)
    assert inputs.frontend.gains.grad.abs().sum() > 0
    assert not Inputs(build("musicnn"), 0.0, 0.5).state_dict()
