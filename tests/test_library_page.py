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
from models import networks
from models.checkpoints import save_network

PAGE = Path(__file__).resolve().parents[1] / "docs" / "library.md"
RATE = 16_000


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Runs a block of the page in a folder of its own; what it leaves by name."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3

    def run(number: int, given: dict | None = None, **replaced: str) -> dict:
        code = blocks[number]
        for old, new in replaced.items():
            assert old in code
            code = code.replace(old, new)
        Path("block.py").write_text(code, encoding="utf-8")
        return runpy.run_path("block.py", given)

    return run


def test_a_trained_network(page):
    network = networks.find("fcn")(n_classes=6, channels=[4, 4, 4, 4, 4])
    encoder = Encoder.of(network, device="cpu")
    save_network("KEY.safetensors", network, encoder.description, encoder.frontend)
    soundfile.write("song.flac", 0.1 * np.random.default_rng(0).standard_normal((40 * 22_050, 2)), 22_050)
    left = page(0, **{"runs/KEY": "KEY.safetensors"})
    assert len(left["prediction"].best(5)) == 5
    assert {layer: tokens.shape[1:] for layer, tokens in left["tokens"].items()} == {"layer5": (1, 4)}


def test_a_store(page):
    with StoreWriter(Path("outputs/embeddings/NAME/block_06"), Header("embeddings", (1, 8), "float16")) as writer:
        writer.append("kora/first_song.mp3", np.zeros((3, 1, 8), np.float16))
    assert page(1)["store"].ids == ["kora/first_song.mp3"]


def test_front_ends_and_networks(page):
    audio = 0.1 * torch.randn(1, 10 * RATE, generator=torch.Generator().manual_seed(0))
    assert page(2, {"audio": audio}, **{"(n_classes=10": "(depth=1, n_classes=10"})["logits"].shape == (1, 10)
