"""The picture of tags over time."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.inference import tag_map as module
from experiments.inference.tag_map import tag_map
from models.prediction import Prediction
from models.selection import Selection, one_class


def prediction(windows: int, tags: int, selection: Selection | None = None) -> Prediction:
    values = np.random.default_rng(0).random((windows, tags)) * np.linspace(1, 0.1, tags)
    times = np.linspace(0, 270, windows) if windows > 1 else np.zeros(1)
    return Prediction([f"tag {n}" for n in range(tags)], "tags", times, 29.0, values, values.mean(0), selection)


@pytest.mark.parametrize(("windows", "tags", "selection"), [(100, 50, None), (1, 1, None), (11, 90, one_class())])
def test_a_picture_of_any_number_of_windows_and_tags(tmp_path, windows, tags, selection):
    file = tag_map(prediction(windows, tags, selection), tmp_path / "map.png", "$a_song.mp3")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_given_tags_are_marked_and_the_most_probable_come_first(tmp_path, monkeypatch):
    labels = {}

    def note(axis, made, order):
        labels["axis"], labels["order"] = axis, order

    monkeypatch.setattr(module, "_draw_over_time", note)
    made = prediction(20, 12, Selection("file", (0.3,) * 12))
    tag_map(made, tmp_path / "map.png", "song")
    order = labels["order"]
    assert list(made.whole[order]) == sorted(made.whole[order], reverse=True)
    bold = [one.get_text() for one in labels["axis"].get_yticklabels() if one.get_fontweight() == "bold"]
    assert bold == list(made.selected)


def test_columns_meet_half_way_between_windows():
    made = prediction(3, 2)
    assert module._edges(made).tolist() == [0.0, 82.0, 217.0, 299.0]
