"""The Python of `docs/library.md` runs as it stands there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Header, StoreWriter
from experiments.encoder import Encoder
from experiments.tasks import build
from models import networks
from models.checkpoints import save_network
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.thresholds import Thresholds

PAGE = Path(__file__).resolve().parents[1] / "docs" / "library.md"
RATE = 16_000
LABELS = ["calm", "fast", "loud"]
TAGS = ("bell", "drum", "flute", "harp", "organ", "voice")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Runs a block of the page in a folder of its own; what it leaves by name."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5

    def run(number: int, given: dict | None = None, **replaced: str) -> dict:
        code = blocks[number]
        for old, new in replaced.items():
            assert old in code
            code = code.replace(old, new)
        Path("block.py").write_text(code, encoding="utf-8")
        return runpy.run_path("block.py", given)

    return run


def song(rate: int, seconds: int) -> None:
    """The recording that the page names."""
    samples = np.random.default_rng(0).standard_normal((seconds * rate, 2))
    soundfile.write("song.flac", (0.1 * samples).clip(-1, 1), rate)


def test_a_trained_network(page, capsys):
    torch.manual_seed(0)
    network = MAEST(n_classes=3, n_frames=312, dim=32, depth=2, heads=2).eval()
    folder = Path("runs/KEY/checkpoints")
    folder.mkdir(parents=True)
    about = {"network": network.hyperparameters, "task": "tagging", "labels": LABELS}
    state = {f"net.{key}": value for key, value in network.state_dict().items()}
    torch.save(
        {"state_dict": state, "hyper_parameters": {**about, "frontend": MusiCNNMel().description}}, folder / "best.ckpt"
    )
    song(44_100, 6)
    left = page(0)
    assert set(left["prediction"].probabilities) == set(LABELS)
    assert "'calm'" in capsys.readouterr().out
    assert {name: tokens.shape for name, tokens in left["tokens"].items()} == {"block_01": (1, 3, 32)}


def test_a_tagger_with_thresholds(page, capsys):
    network = networks.find("fcn")(n_classes=6, channels=[4, 4, 4, 4, 4])
    encoder = Encoder.of(network, task=build("tagging", classes=TAGS), device="cpu")
    thresholds = Thresholds(TAGS, (0.0, 1.0, 1.0, 1.0, 1.0, 0.0), 0.5, "valid", 20)
    description = {**encoder.description, "thresholds": thresholds.entry}
    save_network("KEY.safetensors", network, description, encoder.frontend)
    song(22_050, 40)
    left = page(0, **{"runs/KEY": "KEY.safetensors"})
    prediction = left["prediction"]
    assert len(prediction.best(5)) == 5
    assert {layer: tokens.shape[1:] for layer, tokens in left["tokens"].items()} == {"layer5": (1, 4)}
    assert prediction.selected.keys() == {"bell", "voice"}
    assert str(prediction.selected) in capsys.readouterr().out
    assert prediction.thresholds == dict(zip(TAGS, thresholds.values, strict=True))
    assert left["over_time"].shape == (len(left["times"]), 6)
    assert len(left["spread"].times) == 8


def test_a_store(page):
    with StoreWriter(Path("outputs/embeddings/NAME/block_06"), Header("embeddings", (3, 32), "float16")) as writer:
        writer.append("kora/first_song.mp3", np.ones((2, 3, 32), np.float16))
    left = page(1, **{"store.ids": "ids = store.ids", "store.read": "track = store.read"})
    assert list(left["ids"]) == left["store"].ids == ["kora/first_song.mp3"]
    assert left["track"].shape == (2, 3, 32)


def test_front_ends_and_networks(page):
    audio = 0.1 * torch.randn(1, 10 * RATE, generator=torch.Generator().manual_seed(0))
    assert page(2, {"audio": audio})["logits"].shape == (1, 10)


def test_a_network_for_beats(page):
    network = networks.find("tcn")(channels=4, blocks=3)
    encoder = Encoder.of(network, task=build("beats"), device="cpu")
    save_network("KEY.safetensors", network, encoder.description, encoder.frontend)
    song(22_050, 3)
    left = page(3, **{"runs/KEY": "KEY.safetensors"})
    assert left["curves"].shape == (len(left["times"]), 2) == (301, 2)
    assert len(left["beats"].positions) == len(left["beats"].times)


def test_a_decoder_alone(page):
    activations = np.tile([0.01, 0.001], (1000, 1))
    activations[::50, 0] = activations[::150, 1] = 0.9
    beats = page(4, {"activations": activations})["beats"]
    assert beats.metre == 3
    np.testing.assert_allclose(beats.times, np.arange(20) / 2, atol=0.02)
