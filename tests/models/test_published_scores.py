"""Audio to scores with the weights that Won et al. publish, against the scores of their own code on real clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.encoder import Encoder
from preprocess import load

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = PUBLISHED / "weights" / "music_tagging"
FILES = ("mtat/fcn", "msd/fcn", "jamendo/fcn", "mtat/musicnn", "jamendo/musicnn", "msd/crnn", "jamendo/crnn")


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="published weights and clips are not part of the project")
@pytest.mark.parametrize("file", FILES)
def test_scores_of_published_networks_on_real_clips(file):
    scores = json.loads((WEIGHTS / "scores.json").read_text(encoding="utf-8"))
    encoder = Encoder.load(str(WEIGHTS / file / "best_model.pth"))
    if file.startswith("mtat"):
        assert list(encoder.labels) == scores["mtat_tags"]
    several = {"windows": 8} if file.endswith("musicnn") else {}
    length = 480_000 if several else encoder.network.window_samples  # the others see one window, at the beginning
    for name, expected in list(scores["clips"].items())[::12]:
        audio = load(PUBLISHED / "genre_emotion_tags" / name, 16_000)[:length]
        ours = encoder.predict(audio, 16_000, **several).whole
        assert np.abs(ours - expected[file]).max() < 1e-4
