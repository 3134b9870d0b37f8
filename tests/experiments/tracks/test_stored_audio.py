"""A store of audio is described as one of log-mels is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ex_pretrain import ex
from experiments.tracks.stored_audio import ComputedMels
from models.frontends import build
from preprocess.__main__ import main

RATE = 22_050
CLIPS = Path(__file__).parents[2] / "data"


class Audio:
    """Samples in memory."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples

    def length(self, id: str) -> int:
        return len(self.samples)

    def read(self, id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self.samples[start:stop]


def test_frames_are_those_of_the_whole_track_but_at_the_ends():
    samples = (3000 * np.random.default_rng(0).standard_normal(20_000)).astype(np.int16)
    mels = ComputedMels(Audio(samples), build("mel_db"))
    whole = build("mel_db")(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()
    assert mels.length("x") == len(whole)
    np.testing.assert_array_equal(mels.read("x"), whole)
    np.testing.assert_allclose(mels.read("x", 20, 40)[2:-2], whole[22:38], atol=1e-3)
    assert len(mels.read("x", len(whole) - 1)) >= 1


@pytest.fixture
def store(tmp_path) -> Path:
    """Of two recordings, one of them twice in different encodings, with a table."""
    audio = tmp_path / "audio"
    audio.mkdir()
    for name in ("piano_prelude", "super_polka"):
        samples, rate = soundfile.read(CLIPS / f"{name}.ogg", dtype="float32", frames=1_000_000)
        soundfile.write(audio / f"{name}.flac", samples, rate)
        if name == "super_polka":
            soundfile.write(audio / "polka_again.ogg", 0.5 * samples, rate)
    main([str(audio), str(tmp_path / "store"), "--audio", str(RATE)])
    rows = ["piano_prelude.flac,train,piano", "super_polka.flac,valid,polka", "polka_again.ogg,test,polka"]
    (tmp_path / "store" / "tracks.csv").write_text("\n".join(["path,split,tags", *rows]) + "\n")
    return tmp_path / "store"


def test_a_recording_in_two_encodings_is_found_at_any_rate(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["ex_pretrain.py", "describe", "with", f"datamodule.base_dir={store}", "tracking.mongo=off"]
    found = ex.run_commandline(words)
    assert found["tracks"] == 3
    assert found["same_audio_in_two_splits"] == 1
