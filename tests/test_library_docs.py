"""What docs/library.md shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Header, StoreWriter
from models.frontends import MusiCNNMel
from models.maest import MAEST

PAGE = Path(__file__).parents[1] / "docs" / "library.md"
LABELS = ["calm", "fast", "loud"]


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A folder with the checkpoint, the recording and the store that the page names, all of them tiny."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = MAEST(n_classes=3, n_frames=312, dim=32, depth=2, heads=2).eval()
    folder = tmp_path / "runs/KEY/checkpoints"
    folder.mkdir(parents=True)
    about = {"network": network.hyperparameters, "task": "tagging", "labels": LABELS}
    state = {f"net.{key}": value for key, value in network.state_dict().items()}
    torch.save(
        {"state_dict": state, "hyper_parameters": {**about, "frontend": MusiCNNMel().description}}, folder / "best.ckpt"
    )
    audio = 0.1 * np.random.default_rng(0).standard_normal((6 * 44_100, 2))
    soundfile.write(tmp_path / "song.flac", audio, 44_100)
    header = Header("embeddings", (3, 32), "float16", "tokens", {"layer": "block_06"}, "0" * 16)
    with StoreWriter(tmp_path / "outputs/embeddings/NAME/block_06", header) as writer:
        writer.append("kora/first_song.mp3", np.ones((2, 3, 32), np.float16))
    return tmp_path


def test_every_block_of_the_page_runs(work, capsys):
    encoder, store, network = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(encoder, names)
    assert set(names["prediction"].probabilities) == set(LABELS)
    assert "'calm'" in capsys.readouterr().out
    assert {name: tokens.shape for name, tokens in names["tokens"].items()} == {"block_01": (1, 3, 32)}
    exec(store.replace("store.ids", "ids = store.ids").replace("store.read", "track = store.read"), names)
    assert list(names["ids"]) == ["kora/first_song.mp3"]
    assert names["track"].shape == (2, 3, 32)
    names["audio"] = 0.1 * torch.randn(1, 160_000)
    exec(network, names)
    assert names["logits"].shape == (1, 10)
