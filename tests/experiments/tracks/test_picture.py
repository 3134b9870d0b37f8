"""The picture of a corpus: every split is on it, however many labels and whatever lengths there are."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from datasets.corpus_audit import LabelRow
from experiments.errors import UserError
from experiments.reports import SPLIT_COLOURS
from experiments.tracks.picture import corpus_picture


def row(name, train, valid, test):
    return LabelRow("genre", name, train, valid, test, 1.0, "", 0)


@pytest.mark.parametrize("labels", [1, 12, 500])
@pytest.mark.parametrize("lengths", [[30.0], [3.0, 700.0, 5000.0]])
def test_every_split_is_on_it(tmp_path, labels, lengths):
    rows = [row(f"a $label_ {n} \\long$ enough to be cut", 1000 - n, 100, 50) for n in range(labels)]
    seconds = {"train": np.array(lengths * 8), "valid": np.array(lengths), "test": np.array(lengths)}
    path = corpus_picture(rows, seconds, tmp_path / "corpus.png", "songs: genre")
    pixels = imread(path)[:, :, :3]
    assert 400 <= pixels.shape[0] <= 1500
    for split in ("train", "valid", "test"):
        assert np.mean(np.abs(pixels - to_rgb(SPLIT_COLOURS[split])).max(axis=2) < 0.01) > 0.002
    assert [file.name for file in tmp_path.iterdir()] == ["corpus.png"]


def test_splits_may_be_empty_but_not_all(tmp_path):
    seconds = {"train": np.array([3.0]), "valid": np.array([]), "test": np.array([])}
    assert corpus_picture([row("x", 1, 0, 0)], seconds, tmp_path / "corpus.png").is_file()
    with pytest.raises(UserError, match="nothing to draw"):
        corpus_picture([], seconds, tmp_path / "none.png")
