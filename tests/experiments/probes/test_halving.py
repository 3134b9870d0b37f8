"""Successive halving: what falls behind is not trained to its end, is said to be so, and is never chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.probes import halving
from experiments.probes import sweep as sweeping
from experiments.probes.grids import grid
from experiments.probes.halving import Rung, trainings
from experiments.probes.sweep import Workers, sweep
from experiments.probes.sweep_files import Problem, Record
from models.probes.grids import points
from tests.experiments.probes.toy_problems import two_problems

GRID = points(
    hidden=[None, 8],
    learning_rate=[1e-3, 1e-1],
    dropout=[0.0, 0.5],
    l2=[0.0, 1e-2],
    evaluate_every=[2],
    patience=[3],
    max_steps=[20],
)


@pytest.fixture(autouse=True)
def small_rungs(monkeypatch):
    monkeypatch.setattr(halving, "STEPS", (4, 8))


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return two_problems(GRID)


@pytest.fixture(scope="module")
def whole(problems, tmp_path_factory):
    """All points trained to their end."""
    return sweep(problems, tmp_path_factory.mktemp("whole"), Workers(jobs=1))


def test_the_chosen_probe_was_trained_to_its_end(problems, whole, tmp_path):
    counted: list[int] = []
    found = sweep(problems, tmp_path, Workers(jobs=1), counted.append, early="halving")
    assert sum(counted) == len(problems) * trainings(GRID, "halving")
    for outcome, complete in zip(found, whole, strict=True):
        assert [record.config for record in outcome.records] == list(GRID)
        left = [record for record in outcome.records if not record.early]
        assert len(left) == 4  # of each of four paces 4, 2, 1
        assert outcome.stopped == [record for record in outcome.records if record.early]
        assert {record.stop_step for record in outcome.stopped} == {4, 8}
        for record in left:
            assert record.value == pytest.approx(complete.records[record.number].value)
            assert record.stop_step == complete.records[record.number].stop_step
        assert min(outcome.records, key=lambda record: record.rank) in left
        assert outcome.probe.value == max(record.value for record in left)


def test_it_goes_on_after_an_interruption_and_trains_nothing_twice(problems, tmp_path, monkeypatch):
    train, expected = sweeping._train, sweep(problems, tmp_path / "at once", Workers(jobs=1), early="halving")
    for calls in (1, 4, 4):  # in every rung
        left = [calls]

        def ended(*arguments, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return train(*arguments)

        monkeypatch.setattr(sweeping, "_train", ended)
        with pytest.raises(KeyboardInterrupt):
            sweep(problems, tmp_path / "again", Workers(jobs=1), early="halving")
    monkeypatch.setattr(sweeping, "_train", train)
    found = sweep(problems, tmp_path / "again", Workers(jobs=1), early="halving")
    assert [one.records for one in found] == [one.records for one in expected]
    monkeypatch.setattr(sweeping, "_train", None)
    found = sweep(problems, tmp_path / "again", Workers(jobs=1), early="halving")
    assert [one.records for one in found] == [one.records for one in expected]


def test_without_it_what_was_ended_early_is_trained_to_its_end(problems, whole, tmp_path):
    sweep(problems, tmp_path, Workers(jobs=1), early="halving")
    found = sweep(problems, tmp_path, Workers(jobs=1))
    assert not any(one.stopped for one in found)
    assert [one.probe.config for one in found] == [one.probe.config for one in whole]


def test_the_full_grid_is_reduced_within_each_pace():
    full = grid("full")
    assert trainings(full, None) == 216
    assert trainings(full, "halving") == 216 + 72 + 24
    records = [Record(number, config, value=number / 216, loss=0.0) for number, config in enumerate(full)]
    left, ended = Rung(4).survivors(full, records)
    assert len(left) == 72
    assert {(full[n].hidden, full[n].batch_size, full[n].learning_rate) for n in left} == {
        (one.hidden, one.batch_size, one.learning_rate) for one in full
    }
    assert sorted(left + [record.number for record in ended]) == list(range(216))


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 10))
def test_no_point_is_ended_for_a_worse_one_of_its_pace(values, steps):
    configs = tuple(replace(GRID[0], l2=number / 100) for number in range(len(values)))
    rung = Rung(steps)
    limited = rung.limited(configs)
    assert all(config.max_steps == steps for config in limited)
    failures = ["diverged" if value is None else None for value in values]
    records = [
        Record(number, limited[number], value, 0.0, stop_step=steps - number % 2, failure=failures[number])
        for number, value in enumerate(values)
    ]
    left, ended = rung.survivors(configs, records)
    assert len(left) == -(-len(values) // 3)
    worst = min((values[number] for number in left if values[number] is not None), default=-1)
    assert all(record.value is None or record.value <= worst for record in ended) or any(
        values[number] is None for number in left
    )
    assert all(record.config == configs[record.number] for record in ended)
    # who ended by its own patience before the rung did is not cut off
    assert all(record.early is (record.failure is None and record.stop_step == steps) for record in ended)


def test_where_rungs_would_take_longer_there_are_none(monkeypatch):
    assert halving.rungs("halving", GRID)
    assert not halving.rungs(None, GRID)
    monkeypatch.setattr(halving, "STEPS", (1000, 3000))
    quick = grid("quick")
    assert trainings(quick, "halving") == len(quick)
    assert halving.rungs("halving", grid("full"))
    assert not halving.rungs("halving", GRID)  # all of it ends after 20 steps
