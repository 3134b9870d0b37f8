"""Extraction and prediction with a network, and a front end that it has learned, from outside of the project."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Store
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.inference import extract_embeddings, extract_logits
from experiments.inference.prediction import predict
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from models.checkpoints import save_network
from models.maest import MAEST
from preprocess import build_store
from tests.models.toys import Toy

TOY, RATE, WINDOW = "tests.models.toys:Toy", 8000, 80
SAMPLES = 79 * 100  # that make a window


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    task = build("genre", classes=["x", "y", "z"])
    return Encoder.of(Toy(3), task=task, input="audio", window=WINDOW, device="cpu")


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number, seconds in enumerate((0.5, 3.1, 1.0)):
        samples = 0.1 * np.random.default_rng(number).standard_normal(round(RATE * seconds))
        soundfile.write(folder / f"{number}.wav", samples, RATE, subtype="FLOAT")
    return folder


@pytest.fixture
def settings(encoder, music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_network("toy.safetensors", encoder.network, encoder.description, encoder.frontend)

    def made(datamodule=None, **inference) -> PretrainSettings:
        return PretrainSettings(
            model={"network": TOY},
            trainer={"accelerator": "cpu"},
            datamodule={"base_dir": str(music), "jobs": 1} | (datamodule or {}),
            inference={"checkpoint": "toy.safetensors", "audio": str(music), "out_dir": "out"} | inference,
        )

    return made


def run(tmp_path) -> RunHandle:
    (tmp_path / "run").mkdir(exist_ok=True)
    return RunHandle(tmp_path / "run", 0)


def windows_of(store: Store, identity: str) -> list[torch.Tensor]:
    """Audio of the windows of a track, padded by silence."""
    rows = torch.from_numpy(np.array(store.read(identity))).float() / 32768
    if len(rows) < SAMPLES:
        missing = SAMPLES - len(rows)
        return [torch.nn.functional.pad(rows, (missing // 2, missing - missing // 2))]
    return [rows[start : start + SAMPLES] for start in range(0, len(rows) - SAMPLES + 1, WINDOW * 100)]


def test_layers_are_extracted_from_stored_audio(settings, encoder, tmp_path, capsys):
    result = extract_embeddings(settings(layer=["clip", "frames"]), run(tmp_path))
    assert result == {"written": 3, "already": 0, "skipped": 0}
    (audio,) = (tmp_path / "outputs" / "audio").iterdir()
    clip, frames = Store(tmp_path / "out" / "layer_clip"), Store(tmp_path / "out" / "layer_frames")
    assert (clip.header.item_shape, frames.header.item_shape) == ((1, 6), (WINDOW - 2, 6))
    producer = clip.header.producer
    assert (producer["layer"], producer["token_names"], producer["class"]) == ("clip", ["mean"], TOY)
    assert (producer["window_frames"], producer["hop_frames"], producer["input"]) == (WINDOW, WINDOW, "audio")
    for identity in clip.ids:
        cut = windows_of(Store(audio), identity)
        with torch.no_grad():
            x = (encoder.frontend(torch.stack(cut)) - encoder.mean) / (2 * encoder.std)
            expected = encoder.network.embed(x, ["clip", "frames"])
        np.testing.assert_allclose(clip.read(identity), expected["clip"].numpy(), atol=2e-3)
        np.testing.assert_allclose(frames.read(identity), expected["frames"].numpy(), atol=2e-3)
    assert "model.network" not in capsys.readouterr().err
    again = extract_embeddings(settings({"base_dir": str(audio)}, layer="clip"), run(tmp_path))
    assert again == {"written": 0, "already": 3, "skipped": 0}


def test_the_student_of_its_logits_is_of_the_same_network(settings, tmp_path, capsys):
    extract_logits(settings(), run(tmp_path))
    store = Store(tmp_path / "out" / "logits")
    assert store.header.producer["labels"] == ["x", "y", "z"]
    assert f"ex_pretrain.py with model.network={TOY} distillation.logits=" in capsys.readouterr().err


def test_files_of_every_length_are_predicted_and_windows_vote(settings, encoder, music, tmp_path):
    assert predict(settings(join="vote", top=3), run(tmp_path))["predicted"] == 3
    with (tmp_path / "out" / "predictions.json").open() as file:
        found = {entry["audio"].rpartition("/")[2]: entry for entry in json.load(file)}
    assert len(found["1.wav"]["over_time"]) == 3
    samples, rate = soundfile.read(music / "1.wav", dtype="float32")
    expected = encoder.predict(samples, rate, join="vote")
    assert found["1.wav"]["ranked"] == pytest.approx(expected.best(3), abs=1e-4)
    assert sum(found["1.wav"]["ranked"].values()) == pytest.approx(1, abs=1e-4)
    assert found["0.wav"]["window_seconds"] == pytest.approx(SAMPLES / RATE, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": "block_06"}, r"layer 'block_06'.*has the layers frames, clip"),
        ({"join": "mode"}, "mode"),
    ],
)
def test_what_the_network_does_not_have_is_named(settings, tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        extract_embeddings(settings(**given), run(tmp_path))


def test_a_store_of_another_front_end_is_refused_in_a_sentence(settings, music, tmp_path):
    build_store(music, tmp_path / "mels", jobs=1, progress=False)
    with pytest.raises(UserError, match=r"mels holds mel of MusiCNN log-mel, the network takes those of .*Levels"):
        extract_embeddings(settings({"base_dir": str(tmp_path / "mels")}), run(tmp_path))
    with pytest.raises(UserError, match=r"mels holds mel, and datamodule\.input=audio takes audio"):
        extract_embeddings(settings({"base_dir": str(tmp_path / "mels"), "input": "audio"}), run(tmp_path))
    build_store(music, tmp_path / "fast", frontend="audio_16000", jobs=1, progress=False)
    with pytest.raises(UserError, match=r"fast holds audio at 16000 Hz, the front end .*Levels takes 8000 Hz"):
        extract_embeddings(settings({"base_dir": str(tmp_path / "fast")}), run(tmp_path))
    with pytest.raises(UserError, match=r"Levels is learned, .*datamodule\.input=audio"):
        extract_embeddings(settings({"input": "features"}), run(tmp_path))


def test_maest_is_extracted_from_audio_as_from_features_but_for_the_edges_of_windows(music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_network(
        "maest.safetensors", MAEST(n_classes=3, n_frames=64, dim=32, depth=2, heads=2), {"labels": list("xyz")}
    )

    def stored(kind: str) -> Store:
        inference = {"checkpoint": "maest.safetensors", "out_dir": kind, "transformer_block": 1}
        datamodule = {"base_dir": str(music), "input": kind, "jobs": 1}
        trainer = {"accelerator": "cpu"}
        extract_embeddings(PretrainSettings(inference=inference, datamodule=datamodule, trainer=trainer), run(tmp_path))
        return Store(tmp_path / kind / "block_01")

    features, audio = stored("features"), stored("audio")
    assert set(features.header.producer) == {
        "network", "weights", "frontend", "normalisation", "window_frames", "hop_frames", "block"
    }  # fmt: skip
    assert audio.header.producer == {**features.header.producer, "input": "audio"}
    for identity in features.ids:
        assert np.abs(features.read(identity) - audio.read(identity)).mean() < 0.05
