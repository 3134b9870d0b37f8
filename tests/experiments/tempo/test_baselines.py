"""What a network of tempo is compared with."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasets.store import Header, Store, StoreWriter
from experiments.tasks.tempo_metrics import correct
from experiments.tempo.baselines import USUAL, best_constant, envelope_tempi, holds_onsets, librosa_tempi
from models.frontends import build
from preprocess import compiled
from preprocess.summaries import SAMPLE_RATE


@given(st.lists(st.floats(40, 250), min_size=1, max_size=30), st.floats(40, 250))
def test_no_constant_is_right_more_often(tempi, other):
    references = np.array(tempi)
    best = correct(np.full(len(tempi), best_constant(references)), references).mean()
    assert best >= correct(np.full(len(tempi), np.round(2 * other) / 2), references).mean()


def test_without_training_tracks_the_usual_constant():
    assert best_constant(np.empty(0)) == USUAL == 120


@pytest.fixture(scope="module")
def clicks() -> np.ndarray:
    """Noise bursts at 120 BPM, 8 s."""
    samples = np.zeros(8 * SAMPLE_RATE, np.float32)
    burst = np.random.default_rng(0).standard_normal(500).astype(np.float32) * np.hanning(500)
    for start in range(0, len(samples) - 500, SAMPLE_RATE // 2):
        samples[start : start + 500] += 0.3 * burst
    return samples


def test_librosa_on_files_and_on_a_store_of_audio(clicks, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "prepare", lambda _: None)  # the cache of the test run is filled already
    soundfile.write(tmp_path / "clicks.wav", clicks, SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("no audio")
    files = [tmp_path / "clicks.wav", None, tmp_path / "text.wav"]
    found = librosa_tempi(files, ["clicks", "gone", "text"], 1)
    assert found[0] == pytest.approx(120, rel=0.04)
    assert np.isnan(found[1:]).all()
    header = Header("audio", (), "float32", "", {"sample_rate": SAMPLE_RATE}, "audio")
    with StoreWriter(tmp_path / "store", header) as writer:
        writer.append("a", clicks)
        writer.append("b", np.zeros(SAMPLE_RATE, np.float32))
    stored = librosa_tempi(Store(tmp_path / "store"), ["a", "b"], 1)
    assert stored[0] == pytest.approx(found[0], rel=1e-6)
    assert not holds_onsets(Store(tmp_path / "store"))


def test_librosas_rule_on_stored_onsets(clicks, tmp_path):
    frontend = build("onset")
    made = Header("mel", (), "float16", frontend.units, frontend.parameters_dict, frontend.fingerprint)
    with StoreWriter(tmp_path / "onsets", made) as writer:
        writer.append("a", frontend(torch.from_numpy(clicks)).half().numpy())
        writer.append("b", np.zeros(300, np.float16))
    store = Store(tmp_path / "onsets")
    assert holds_onsets(store)
    found = envelope_tempi(store, ["a", "b"])
    assert found[0] == pytest.approx(120, rel=0.04)
    assert np.isnan(found[1])
