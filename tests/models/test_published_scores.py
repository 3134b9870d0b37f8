"""Audio to scores with the weights that Won et al. publish, against the scores of their own code on real clips.

Bands that are all but silent hold nothing but the rounding errors of the Fourier transform, and scores follow these up
to 1e-4. Ours are computed with MKL's form for all processors, as theirs were, where MKL is.
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from experiments.encoder import Encoder
from preprocess import load

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = PUBLISHED / "weights" / "music_tagging"
FILES = ("mtat/fcn", "msd/fcn", "jamendo/fcn", "mtat/musicnn", "jamendo/musicnn", "msd/crnn", "jamendo/crnn")


def scores_of(file: str, clips: list[str]) -> np.ndarray:
    """Of a file of weights, `[clips, tags]`."""
    encoder = Encoder.load(str(WEIGHTS / file / "best_model.pth"))
    several = {"windows": 8} if file.endswith("musicnn") else {}
    length = 480_000 if several else encoder.network.window_samples  # the others see one window, at the beginning
    audio = [load(PUBLISHED / "genre_emotion_tags" / clip, 16_000)[:length] for clip in clips]
    return np.stack([encoder.predict(one, 16_000, **several).whole for one in audio])


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="published weights and clips are not part of the project")
def test_scores_of_published_networks_on_real_clips(monkeypatch):
    published = json.loads((WEIGHTS / "scores.json").read_text(encoding="utf-8"))
    clips = dict(list(published["clips"].items())[::12])
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")  # read once, when the process first calls MKL
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        for file in FILES:
            ours = process.submit(scores_of, file, list(clips)).result()
            theirs = [scores[file] for scores in clips.values()]
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6, err_msg=file)
    assert list(Encoder.load(str(WEIGHTS / "mtat/fcn/best_model.pth")).labels) == published["mtat_tags"]
