"""What holds for every network that gives outputs over time, whichever there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.time_grid import TimeGrid
from experiments.configs.catalogue import TRANSFER
from models import networks
from models.checkpoints import load_checkpoint, save_network
from models.frontends import build
from models.network import Network
from models.network_input import default_window, own_frontend
from tests.models.taggers import with_statistics

NAMES = [name for name in networks.names() if networks.find(name).over_time]
SECONDS = 4.0


@pytest.fixture(scope="module", params=NAMES)
def network(request) -> Network:
    torch.manual_seed(0)
    small = TRANSFER["debug"].by_network.get(request.param, {}).get("model", {})
    return with_statistics(networks.find(request.param)(n_classes=2, **small))


@pytest.fixture(scope="module")
def window(network) -> Tensor:
    """Noise as the network sees it, some frames more than fill its steps."""
    frontend = own_frontend(network)
    samples = int(SECONDS * frontend.sample_rate)
    return frontend(0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1)))


def test_windows_are_half_a_minute_in_steps(network):
    frontend = own_frontend(network)
    frames = default_window(network, frontend)
    assert frames / frontend.frame_rate == pytest.approx(30, abs=0.05)
    assert 0 < 2 * network.margin < frames
    grid = TimeGrid(frontend.frame_rate, network.pool, network.margin)
    times = grid.times(grid.steps(frames))
    assert 0 <= times[0] < times[-1] < 30
    assert np.diff(times).max() < 0.07  # seconds: what counts as a beat that was found
    with torch.no_grad():
        assert network(torch.zeros(1, frames, *frontend.item_shape)).shape == (1, len(times), 2)


def test_every_number_of_frames_has_its_steps(network, window):
    for frames in (network.min_frames, network.min_frames + 1, window.shape[1] - 1, window.shape[1]):
        with torch.no_grad():
            logits = network(window[:, :frames])
        assert logits.shape == (1, frames // network.pool, 2)
        assert logits.isfinite().all()


def test_logits_and_embeddings_from_one_pass_are_those_of_two(network, window):
    layers = list(network.layer_names)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(window, layers)
        assert torch.equal(logits, network(window))
        apart = network.embed(window, layers)
    assert all(torch.equal(tokens[name], apart[name]) for name in layers)
    shapes = {name: network.embedding_shape(name, window.shape[2:], window.shape[1]) for name in layers}
    assert {name: tuple(one.shape[1:]) for name, one in tokens.items()} == shapes
    assert {steps for steps, _ in shapes.values()} == {logits.shape[1]}


def test_a_prepared_network_gives_the_same(network, window):
    with torch.inference_mode():
        assert (network.prepared()(window) - network(window)).abs().max() < 1e-4


def test_a_saved_network_is_the_same_again(network, window, tmp_path):
    frontend = own_frontend(network)
    save_network(tmp_path / "net.safetensors", network, {"task": "beats", "labels": ["beat", "downbeat"]}, frontend)
    again = load_checkpoint(tmp_path / "net.safetensors")
    assert again.frontend.description == build(frontend.name, **frontend.arguments).description
    with torch.no_grad():
        assert torch.equal(again.network(window), network(window))


def test_too_few_frames_are_refused(network, window):
    with pytest.raises(ValueError, match=rf"at least {network.min_frames}"):
        network(window[:, : network.min_frames - 1])


def test_parameters_by_depth_are_all_parameters_and_end_with_the_heads(network):
    if layers := network.parameter_layers():  # else the network has no depth that could be frozen
        parameters = [name for name, _ in network.named_parameters()]
        assert sorted(name for layer in layers for name in layer) == sorted(parameters)
        assert any(name.startswith(network.head_prefixes) for name in layers[-1])


def test_a_downbeat_is_a_beat_where_logits_are_summed(network, window):
    if not network.hyperparameters["sum_rule"]:
        return
    with torch.no_grad():
        before, layer = network(window), network.get_submodule(network.head_prefixes[0].rstrip("."))
        layer.bias[1] += 1.0
        change = network(window) - before
        layer.bias[1] -= 1.0
    torch.testing.assert_close(change[..., 0], change[..., 1], atol=1e-4, rtol=1e-4)
    assert (change > 0.1).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_other_network_takes_its_weights_for_published_ones(name):
    kind = networks.find(name)
    with torch.device("meta"):
        state = kind().state_dict()
    assert [other for other in networks.names() if networks.find(other).from_published(state) is not None] == []
