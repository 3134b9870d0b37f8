"""What holds for every tagger from audio, whichever there are; networks over time have tests of their own."""

from __future__ import annotations

import inspect
import math
import re

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F

from experiments.configs.catalogue import TRANSFER
from models import networks
from models.checkpoints import load_checkpoint, save_network
from models.convolutional import Tagger
from models.frontends import build
from models.network import Network, main_head
from models.network_input import own_frontend
from tests.models import contrastive_files
from tests.models.taggers import with_statistics

NAMES = [
    name
    for name in networks.names()
    if issubclass(kind := networks.find(name), Tagger) and kind.input == "audio" and not kind.over_time
]


@pytest.fixture(scope="module", params=NAMES)
def network(request) -> Network:
    torch.manual_seed(0)
    small = TRANSFER["debug"].by_network.get(request.param, {}).get("model", {})
    return with_statistics(networks.find(request.param)(n_classes=7, **small))


@pytest.fixture(scope="module")
def window(network) -> torch.Tensor:
    """A window as the network sees it."""
    frontend = own_frontend(network)
    return frontend(0.1 * torch.randn(1, network.window_samples, generator=torch.Generator().manual_seed(1)))


def test_windows_have_the_frames_that_the_network_says(network, window):
    assert window.shape[1] == network.window
    with torch.no_grad():
        assert network(window).shape == (1, 7)


def test_logits_and_embeddings_from_one_pass_are_those_of_two(network, window):
    layers = list(network.layer_names)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(window, layers)
        assert torch.equal(logits, network(window))
        apart = network.embed(window, layers)
    assert all(torch.equal(tokens[name], apart[name]) for name in layers)
    shapes = {name: network.embedding_shape(name, window.shape[2:], window.shape[1]) for name in layers}
    assert {name: tuple(one.shape[1:]) for name, one in tokens.items()} == shapes


def test_what_is_classified_is_the_first_token_of_the_last_layer(network, window):
    last, head = network.layer_names[-1], network.get_submodule(network.head_prefixes[0].rstrip("."))
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(window, [last])
        torch.testing.assert_close(head(tokens[last][:, 0]), logits)


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_are_of_one_network_alone(name):
    kind = networks.find(name)
    with torch.device("meta"):
        state = kind().state_dict()
    state = contrastive_files.clmr() if name == "clmr" else state  # of which the names are others here
    kept = {
        "hstft.bw_Q": torch.ones(1),
        "spectrogram_extractor.stft.conv_real.weight": torch.empty(1, 1, kind.frontend_arguments.get("n_fft", 0)),
    }
    state |= {key: tensor for key, tensor in kept.items() if key.startswith(kind.rebuilt)}
    takers = [other for other in networks.names() if networks.find(other).from_published(state) is not None]
    assert takers == [name] or name in ("spectnt", "tune_hybrid")  # of which none are published


def test_a_prepared_network_gives_the_same(network, window):
    with torch.inference_mode():
        assert (network.prepared()(window) - network(window)).abs().max() < 1e-4


def test_parameters_by_depth_are_all_parameters_and_end_with_the_heads(network):
    layers = network.parameter_layers()
    assert sorted(name for layer in layers for name in layer) == sorted(name for name, _ in network.named_parameters())
    assert layers[-1]
    assert any(name.startswith(network.head_prefixes) for name in layers[-1])


def test_a_hidden_layer_before_the_classifier_is_called_penultimate(network):
    """The layers before have numbers; the parameters of a hidden layer are of the last depth but one."""
    numbered = r"(layer|block|convDown)\d+"
    last, layers = network.layer_names[-1], network.parameter_layers()
    assert last == "penultimate" or re.fullmatch(numbered, last)
    assert layers[-2]


def test_a_saved_network_is_the_same_again(network, window, tmp_path):
    frontend = own_frontend(network)
    metadata = {"task": "tagging", "labels": list("abcdefg")}
    save_network(tmp_path / "net.safetensors", network, metadata, frontend)
    again = load_checkpoint(tmp_path / "net.safetensors")
    assert again.frontend.description == build(frontend.name, **frontend.arguments).description
    with torch.no_grad():
        assert torch.equal(again.network(window), network(window))


def test_too_few_frames_are_refused(network, window):
    with pytest.raises(ValueError, match=rf"(at least |batch, ){network.min_frames}"):
        network(window[:, : network.min_frames - 1])


def clips(samples: int, rate: int) -> tuple[Tensor, Tensor]:
    """Audio `[32, samples]` of noise, pulses and a tone, and which of them each clip has, `[32, 3]`."""
    generator = torch.Generator().manual_seed(3)
    present = torch.rand(32, 3, generator=generator) < 0.5
    time = torch.arange(samples) / rate
    noise, pulses, floor = torch.randn(3, 32, samples, generator=generator)
    pulses *= 8 * time % 1 < 0.1
    tone = sum(torch.sin(2 * math.pi * 220 * number * time) for number in range(1, 5)).expand(32, -1)
    sounds = torch.stack([0.06 * noise, 0.2 * pulses, 0.06 * tone], 1)
    return (present[..., None] * sounds).sum(1) + 1e-3 * floor, present.float()


@pytest.mark.parametrize("name", NAMES)
def test_a_small_network_learns_32_clips_by_heart(name):
    torch.manual_seed(0)
    kind = networks.find(name)
    small = dict(TRANSFER["debug"].by_network.get(name, {}).get("model", {}))
    without = {argument: 0.0 for argument in inspect.signature(kind).parameters if "dropout" in argument}
    network = kind(n_classes=3, **{**small, **without})
    frontend = own_frontend(network)
    audio, tags = clips(max(frontend.n_samples(network.min_frames), frontend.sample_rate), frontend.sample_rate)
    with torch.no_grad():
        x = frontend(audio)
    rate = 3e-3 if "attention_dropout" in without else 1e-2  # a transformer does not settle at the higher one
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for _ in range(20):
        for _ in range(12):
            chosen = torch.randperm(32)[:8]
            logits = main_head(network.train()(x[chosen]))
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(logits, tags[chosen]).backward()
            optimizer.step()
        with torch.no_grad():
            scores = main_head(network.eval()(x))
        precision = average_precision_score(tags, scores, average="macro")
        if precision > 0.95:
            break
    assert precision > 0.95
