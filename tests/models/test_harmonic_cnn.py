"""Harmonic CNN against its definition, and what becomes of the Q that its front end learns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.encoder import Encoder
from models.checkpoints import initialise, load_checkpoint, save_network
from models.errors import CheckpointError, InputError
from models.export import PlainForm
from models.frontends import build
from models.harmonic_cnn import HarmonicCNN
from preprocess import load
from tests.models.taggers import State, convolved, norm, same_weights, two_dense, with_statistics

ROOT = Path(__file__).resolve().parents[2]
# Channels, notes and frames of a window, layer by layer.
CELLS = [
    (128, 64, 156), (128, 32, 78), (128, 16, 39), (128, 8, 19), (256, 4, 9), (256, 2, 3), (256, 1, 1),
]  # fmt: skip
NARROW = {"channels": [3, 5], "n_classes": 4}


@pytest.fixture(scope="module")
def network() -> HarmonicCNN:
    torch.manual_seed(0)
    return with_statistics(HarmonicCNN())


def narrow() -> HarmonicCNN:
    torch.manual_seed(0)
    return with_statistics(HarmonicCNN(**NARROW))


def levels(frames: int, batch: int = 2) -> Tensor:
    """Levels in dB, `[batch, frames, harmonics, notes]`."""
    return torch.randn(batch, frames, 6, 128, generator=torch.Generator().manual_seed(1)) * 20 - 30


def published(network: HarmonicCNN, q: float = 1.3) -> dict[str, Tensor]:
    """The tensors of a network as Won et al. save them."""
    return {"hstft.bw_Q": torch.tensor([q]), "hstft.spec.window": torch.ones(512), **network.state_dict()}


def by_definition(state: State, x: Tensor) -> Tensor:
    """Logits of levels, by the layers of the paper."""
    x = norm(state, "hstft_bn", x.permute(0, 2, 3, 1))
    for number in range(1, 8):
        layer, pool = f"layer{number}", (2, 3) if number >= 6 else (2, 2)
        if f"{layer}.conv.weight" in state:
            x = convolved(state, f"{layer}.conv", f"{layer}.bn", x)
        else:
            inner = F.relu(convolved(state, f"{layer}.conv_1", f"{layer}.bn_1", x))
            x = x + convolved(state, f"{layer}.conv_2", f"{layer}.bn_2", inner)
        x = F.max_pool2d(F.relu(x), pool)
    assert x.shape[2] == 1
    return two_dense(state, x[:, :, 0].max(2).values)


def test_parameters_and_entries_are_those_of_the_paper(network):
    parameters = [*network.parameters(), *build("harmonic").parameters()]
    assert sum(parameter.numel() for parameter in parameters) == 3_631_551
    assert len(published(network)) == 100


def test_every_layer_has_the_shape_of_the_paper(network):
    layers = network.layer_names[:-1]
    with torch.no_grad():
        cells = network.run_layers(levels(network.window, batch=1), layers)
    assert [tuple(cells[name].shape[1:]) for name in layers] == CELLS


@pytest.mark.parametrize("frames", [288, 313, 700])
def test_logits_equal_the_definition_whatever_the_length(network, frames):
    x = levels(frames)
    with torch.no_grad():
        logits = network(x)
        torch.testing.assert_close(logits, by_definition(network.state_dict(), x), rtol=0, atol=1e-4)
    assert logits.std() > 0.05


def test_the_shortest_audio_has_73_472_samples(network):
    assert build("harmonic").n_samples(network.min_frames) == 73_472
    with pytest.raises(ValueError, match=r"got shape \[2, 287, 6, 128\].*at least 288"):
        network(levels(287))


@pytest.mark.parametrize(("legacy", "prefix"), [(True, ""), (False, ""), (False, "model.")])
def test_published_layouts_load_strictly_with_their_q(tmp_path, legacy, prefix):
    state = {prefix + key: tensor for key, tensor in published(narrow()).items()}
    content = {"state_dict": state} if prefix else state
    torch.save(content, tmp_path / "best_model.pth", _use_new_zipfile_serialization=not legacy)
    found = load_checkpoint(tmp_path / "best_model.pth")
    assert same_weights(narrow(), found.network)
    assert found.frontend.q.item() == pytest.approx(1.3, rel=1e-7)


@pytest.mark.parametrize("q", [-0.2, float("inf"), float("nan")])
def test_a_published_file_whose_q_is_none_is_refused(tmp_path, q):
    torch.save(published(narrow(), q=q), tmp_path / "best_model.pth")
    with pytest.raises(CheckpointError, match=r"hstft.bw_Q is \[.*above 0"):
        load_checkpoint(tmp_path / "best_model.pth")


def test_a_saved_network_has_the_q_that_was_learned(tmp_path):
    audio = 0.1 * torch.randn(1, 80_000, generator=torch.Generator().manual_seed(0))
    frontend, network = build("harmonic"), narrow()
    frontend.raw_q.data.add_(0.5)
    save_network(tmp_path / "net.safetensors", network, {"task": "tagging", "labels": list("abcd")}, frontend)
    found = load_checkpoint(tmp_path / "net.safetensors")
    with torch.no_grad():
        assert torch.equal(found.network(found.frontend(audio)), network(frontend(audio)))
        assert not torch.equal(found.network(build("harmonic")(audio)), network(frontend(audio)))


def test_a_front_end_without_harmonics_is_refused_before_anything_is_computed():
    with pytest.raises(InputError, match=r"mel_db makes frames of shape \[96\].*at least 128 notes"):
        HarmonicCNN.derive(build("mel_db"), 313, 50)
    assert HarmonicCNN.derive(build("harmonic", harmonics=4), 313, 9) == {"n_classes": 9, "harmonics": 4}


def run(*arguments: str) -> dict:
    """Run `ex_transfer.py` in this process; its result."""
    from ex_transfer import ex

    return ex.run_commandline([str(ROOT / "ex_transfer.py"), *arguments, "tracking.mongo=off"])


def test_q_is_trained_saved_taken_over_exported_and_used(tiny_corpus, tmp_path, monkeypatch):
    """Several commands, so that it takes longer than others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_CACHE", str(tiny_corpus.parents[1]))
    few = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.checkpoint_dir=first"]
    run("with", "harmonic_cnn", "debug", *few, "module.optimizer.lr=0.01", "module.optimizer.schedule_mode=constant")
    encoder = Encoder.load("first/last.ckpt")
    learned = encoder.frontend.q.item()
    assert abs(learned - 1) > 5e-3

    started = build("harmonic")
    initialise(HarmonicCNN(**encoder.network.hyperparameters), "first/last.ckpt", frontend=started)
    assert started.q.item() == learned

    song = str(next((tiny_corpus / "audio").glob("*.flac")))
    words = ["inference.checkpoint=first/last.ckpt", f"inference.audio={song}", "inference.out_dir=out"]
    run("predict", "with", *words)
    (predicted,) = json.loads(Path("out/predictions.json").read_text(encoding="utf-8"))
    audio = load(song, 16_000)
    expected = dict(zip(encoder.labels, encoder.predict(audio, 16_000).whole.tolist(), strict=True))
    assert predicted["ranked"] == pytest.approx({tag: expected[tag] for tag in predicted["ranked"]}, abs=1e-4)
    unlearned = replace(encoder, frontend=build("harmonic"))
    assert np.abs(unlearned.predict(audio, 16_000).whole - encoder.predict(audio, 16_000).whole).max() > 1e-5

    run(
        "export",
        "with",
        "inference.checkpoint=first/last.ckpt",
        "export.format=safetensors",
        "export.path=net.safetensors",
    )
    exported = Encoder.load("net.safetensors")
    assert np.array_equal(exported.predict(audio, 16_000).whole, encoder.predict(audio, 16_000).whole)
    form = PlainForm(encoder.network, encoder.inputs, ["penultimate"])
    windows = torch.from_numpy(audio[: form.samples][None])
    with torch.no_grad():
        logits = encoder.network(encoder.inputs(windows))
        torch.testing.assert_close(form(windows)[0], logits, rtol=0, atol=1e-3)
