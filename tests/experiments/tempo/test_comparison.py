"""Systems on the same songs: metrics, intervals, differences, files and pictures."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from experiments.tasks.tempo_metrics import FACTORS, correct
from experiments.tempo.comparison import Songs, System, compare, text, write
from experiments.tempo.confidence import by_decile
from experiments.tempo.confidence import text as confidence_text
from experiments.tempo.pictures import octave_histogram, scatter, where_right


@pytest.fixture(scope="module")
def songs() -> Songs:
    tempi = np.exp(np.random.default_rng(0).uniform(np.log(50), np.log(200), 60))
    return Songs(
        [f"{number}.wav" for number in range(60)], tempi, [("rock", "=jazz")[number % 2] for number in range(60)]
    )


@pytest.fixture(scope="module")
def systems(songs) -> list[System]:
    rng = np.random.default_rng(1)
    octaves = songs.tempi * rng.choice([1, 2], 60, p=[0.5, 0.5])
    return [
        System("good", songs.tempi * 1.01, 2 * songs.tempi),
        System("octaves", octaves),
        System("120", np.full(60, 120.0)),
    ]


def test_every_metric_lies_in_its_interval_and_differences_are_paired(songs, systems):
    good, octaves, constant = compare(systems, songs, resamples=200)
    assert good.scores["accuracy1"] == (1, pytest.approx(0.94, abs=0.01), 1)
    assert octaves.scores["accuracy1"][0] == correct(systems[1].tempi, songs.tempi).mean()
    assert octaves.scores["accuracy2"][0] == 1
    assert constant.scores["accuracy2"][0] == correct(systems[2].tempi, songs.tempi, FACTORS).mean()
    for row in (good, octaves, constant):
        assert all(low - 1e-12 <= value <= high + 1e-12 for value, low, high in row.scores.values())
        assert sum(row.shares.values()) == pytest.approx(1)
    assert not good.behind
    assert octaves.behind["accuracy1"].ahead == pytest.approx(1 - octaves.scores["accuracy1"][0])
    assert octaves.behind["accuracy1"].more_than_chance
    assert octaves.behind["accuracy2"].ahead == 0
    assert good.scores["oe1"][0] == pytest.approx(np.log2(1.01))


def test_two_annotated_tempi_are_weighed_where_there_are_two():
    songs = Songs(["a", "b"], np.array([60.0, 90.0]), (), np.array([120.0, 0.0]), np.array([0.3, 0.0]))
    (row,) = compare([System("double", np.array([120.0, 180.0]))], songs, resamples=20)
    assert row.scores["p_score"][0] == pytest.approx(0.35)
    (row,) = compare([System("both", np.array([120.0, 180.0]), songs.tempi)], songs, resamples=20)
    assert row.scores["p_score"][0] == pytest.approx(1)


def test_one_song_is_enough():
    songs = Songs(["a"], np.array([100.0]))
    rows = compare([System("one", np.array([100.0])), System("other", np.array([150.0]))], songs, resamples=20)
    assert "100.0" in text(rows)


def test_table_files_and_pictures(songs, systems, tmp_path):
    rows = compare(systems, songs, resamples=100)
    printed = text(rows)
    assert "good ahead by" in printed.splitlines()[0]
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["good", "octaves", "120"]
    table, document, each = write(rows, systems, songs, tmp_path)
    with table.open(encoding="utf-8") as handle:
        assert float(next(csv.DictReader(handle))["accuracy1"]) == 1
    assert json.loads(document.read_text())["systems"]["octaves"]["scores"]["accuracy2"][0] == 1
    with each.open(encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle))
    assert len(lines) == 60
    assert lines[1]["genre"] == "'=jazz"
    assert float(lines[0]["good, second"]) == pytest.approx(2 * songs.tempi[0], abs=0.01)
    for draw in (scatter, octave_histogram, where_right):
        assert draw(systems, songs, tmp_path / f"{draw.__name__}.png").stat().st_size > 5000


def test_sure_songs_are_right_more_often_where_confidence_means_something():
    confidences = np.random.default_rng(0).random(500)
    parts = by_decile("valid", confidences, confidences > 0.5)
    assert len(parts) == 10
    assert sum(part.songs for part in parts) == 500
    assert [part.accuracy1 for part in parts[:4] + parts[6:]] == [0] * 4 + [1] * 4
    assert all(part.low <= part.confidence <= part.high for part in parts)
    assert len(by_decile("test", confidences[:12], confidences[:12] > 0.5)) == 2
    assert confidence_text(parts).count("valid") == 10


def test_a_picture_of_one_system_without_genres(songs, systems, tmp_path):
    assert scatter(systems[:1], Songs(songs.ids, songs.tempi), tmp_path / "one.png").exists()
