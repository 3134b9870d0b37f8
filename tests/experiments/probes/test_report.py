"""The picture of a grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.probes.report import format_table, grid_picture
from experiments.probes.sweep_files import Record
from models.probes.grids import ProbeConfig


def records(*values: float | None) -> list[Record]:
    rates = 10.0 ** -np.arange(len(values))
    return [
        Record(number, ProbeConfig(learning_rate=rate), value, 1.0)
        for number, (rate, value) in enumerate(zip(rates, values, strict=True))
    ]


def test_no_line_runs_through_a_cell_and_values_are_in_per_cent(tmp_path, axes):
    title = "emotion: embeddings, sum of blocks, cls+dist, mean+std, seed 0, validation"
    assert grid_picture(records(0.2, None, 0.5), "r2", tmp_path / "grid.png", title)
    (axis,) = axes
    assert not any(line.get_visible() for line in (*axis.get_xgridlines(), *axis.get_ygridlines()))
    drawn = axis.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(drawn, [[20.0, np.nan, 50.0]])
    assert axis.get_title(loc="left").replace("\n", " ") == title
    assert "\n" in axis.get_title(loc="left")


def test_one_point_is_no_picture(tmp_path):
    assert grid_picture(records(0.2), "r2", tmp_path / "grid.png", "x") is None


@pytest.mark.parametrize(("tracks", "warned"), [(1, True), (9, True), (10, False)])
def test_a_table_of_few_test_tracks_says_that_it_compares_nothing(tracks, warned):
    score = SimpleNamespace(task="genre", n=tracks, unit="tracks", seeds=(0.5,), encoder="x")
    row = SimpleNamespace(label="embeddings", score=score, metrics={"accuracy": (0.5, 0.1, 0.9)})
    table = format_table([row], {"genre": row})
    assert (f"too few test tracks to compare anything: {tracks}" in table) == warned
