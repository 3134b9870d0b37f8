"""Every network of the project without outputs, as trained without labels: saved, opened, asked for embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.configs.catalogue import PRETRAIN
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.networks.initial import initial
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.training.contrastive import keep_unread
from models import networks
from models.checkpoints import save_network
from models.network import main_head
from models.network_input import default_window, own_frontend
from models.peaks import training_flops

SIZES = PRETRAIN["debug"].by_network
NAMES = networks.names()


def smallest(name: str, **given):
    """A network of the sizes of `debug`, with its front end."""
    kind = networks.find(name)
    sizes = SIZES.get(name, {}).get("model", {})
    known = {key: value for key, value in sizes.items() if key in kind.__init__.__annotations__}
    frontend = own_frontend(kind)
    torch.manual_seed(0)
    frames = default_window(kind, frontend)
    return kind(**{**kind.derive(frontend, frames, 0), **known, **given}), frontend


@pytest.mark.parametrize("name", NAMES)
def test_any_network_is_saved_opened_and_embeds(name, tmp_path):
    network, frontend = smallest(name)
    encoder = Encoder.of(network, frontend, device="cpu")
    assert (encoder.description["task"], encoder.labels) == (None, ())
    save_network(tmp_path / "x.safetensors", network, encoder.description, frontend)
    again = Encoder.load(str(tmp_path / "x.safetensors"), device="cpu")
    audio = np.random.default_rng(0).normal(0, 0.1, frontend.n_samples(again.window)).astype(np.float32)
    (tokens,) = again.embed(audio, frontend.sample_rate).values()
    (expected,) = encoder.embed(audio, frontend.sample_rate).values()
    assert np.isfinite(tokens).all()
    assert np.array_equal(tokens, expected)
    with pytest.raises(UserError, match="trained without labels"):
        _ = again.task


@pytest.mark.parametrize("name", NAMES)
def test_what_no_embedding_depends_on_is_not_trained(name):
    """Whatever it would be, several processes would wait for its gradients."""
    network, frontend = smallest(name)
    frames = max(network.min_frames, 64) if network.over_time else default_window(network, frontend)
    layer, shape = network.default_layer, (frames, *frontend.item_shape)
    network.train()
    dim = keep_unread(network, shape)
    assert network.training
    tokens = network.embed(torch.randn(2, *shape), [layer])[layer]
    assert tokens.shape[-1] == dim
    tokens.square().sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_empty_beside_the_tokens(name):
    network, frontend = smallest(name)
    frames = max(network.min_frames, 64) if network.over_time else default_window(network, frontend)
    x, layer = torch.randn(2, frames, *frontend.item_shape), network.default_layer
    shape = (2, frames // network.pool, 0) if network.over_time else (2, 0)
    with torch.no_grad():
        outputs, tokens = network.eval().forward_and_embed(x, [layer])
        assert main_head(outputs).shape == main_head(network(x)).shape == shape
        assert torch.equal(tokens[layer], network.embed(x, [layer])[layer])


@pytest.mark.parametrize("name", NAMES)
def test_operations_are_counted_with_outputs_and_without(name):
    for n_classes in (0, 256 if name == "tempo_lags" else 2):
        network, frontend = smallest(name, n_classes=n_classes)
        assert training_flops(network, (default_window(network, frontend), *frontend.item_shape)) > 0


@pytest.mark.parametrize("name", ["maest", "samplecnn", "short_chunk", "tempo_cnn", "tempo_lags"])
def test_a_supervised_training_starts_from_it_with_new_heads(name, tmp_path):
    network, frontend = smallest(name)
    encoder = Encoder.of(network, frontend)
    save_network(tmp_path / "x.safetensors", network, encoder.description, frontend)
    sizes = {key: value for key, value in network.hyperparameters.items() if key not in network.derived}
    settings = PretrainSettings(
        model={"network": name, **sizes, "checkpoint": str(tmp_path / "x.safetensors")},
        datamodule={"clip_length": network.window / frontend.frame_rate if network.window else None},
    )
    task = build("tempo") if name.startswith("tempo") else build("tagging", classes=["a", "b"])
    started = initial(settings, frontend, task).network
    heads = network.head_prefixes
    assert started.n_classes == task.n_outputs
    for key, value in started.state_dict().items():
        if not key.startswith(heads):
            assert torch.equal(value, network.state_dict()[key]), key
