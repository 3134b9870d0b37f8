"""Decoding from beat to beat finds what a search of all states finds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rhythm.bar_model import bar_model
from models.rhythm.observations import beat_evidence, evidence
from models.rhythm.viterbi import Path, viterbi
from tests.models.rhythm import golden, statewise

RANGE = {"min_bpm": 55.0, "max_bpm": 215.0}


def of_beats(activations: np.ndarray, rate: float, **options) -> Path:
    return viterbi(bar_model(rate, 1, n_tempi=None, **RANGE, **options), beat_evidence(activations))


def heard(path: Path, activations: np.ndarray) -> list[int]:
    """The frame of the highest activation in each run in which a beat is heard."""
    ends = np.minimum(path.frames + path.widths, len(activations))
    runs = [(max(start, 0), end) for start, end in zip(path.frames, ends, strict=True) if end > 0]
    return [int(start + activations[start:end].argmax()) for start, end in runs]


def test_beats_at_one_tempo():
    path = of_beats(golden.S1, 100)
    assert path.log_probability == pytest.approx(-598.314781, abs=1e-5)
    assert heard(path, golden.S1) == [0, 49, 99, 149, 199]


def test_a_beat_in_the_last_frame_completes_the_path_without_support():
    path = of_beats(golden.S2, 50)
    assert path.log_probability == pytest.approx(-2697.817766, abs=1e-5)
    assert heard(path, golden.S2) == [*range(0, 1000, 25), 999]


@pytest.mark.parametrize(
    ("activations", "three", "four", "period", "bar"),
    [(golden.S3, -2797.285866, -2729.216284, 25, 4), (golden.S4, -2728.383344, -2803.755974, 20, 3)],
)
def test_bars_of_three_and_four(activations, three, four, period, bar):
    other, down = activations
    paths = {beats: viterbi(bar_model(50, beats, **RANGE), evidence(down, other)) for beats in (3, 4)}
    assert paths[3].log_probability == pytest.approx(three, abs=1e-5)
    assert paths[4].log_probability == pytest.approx(four, abs=1e-5)
    best = paths[bar]
    count = 1000 // period
    assert heard(best, np.maximum(other, down))[:count] == list(range(0, 1000, period))
    numbers = best.beats[best.frames + best.widths > 0][:count]
    assert numbers.tolist() == [number % bar for number in range(count)]


@pytest.mark.parametrize(
    ("strength", "expected"), [(100.0, -2987.754940), (1.0, -3096.841802), (10.0, -3034.785062), (300.0, -3025.124659)]
)
def test_a_change_of_tempo(strength, expected):
    path = of_beats(golden.S5, 50, transition_lambda=strength)
    assert path.log_probability == pytest.approx(expected, abs=1e-5)
    if strength == 100:
        assert heard(path, golden.S5)[:40] == np.flatnonzero(golden.S5 > 0.5).tolist()


@st.composite
def problems(draw):
    """Activations of any number of frames, and a small model of any kind."""
    rate = draw(st.sampled_from([8.0, 10.0, 15.625]))
    beats = draw(st.integers(1, 4))
    slowest = draw(st.floats(60, 120))
    strength = draw(st.sampled_from([None, 1.0, 10.0, 100.0]))
    several = draw(st.booleans())
    lambdas = tuple(draw(st.sampled_from([None, 5.0, 100.0])) for _ in range(beats)) if several else strength
    options = {
        "min_bpm": slowest,
        "max_bpm": slowest * draw(st.floats(1.0, 2.0)),
        "n_tempi": draw(st.sampled_from([None, 3])),
        "transition_lambda": lambdas,
        "observation_lambda": draw(st.sampled_from([2.5, 4.0, 16.0])),
    }
    frames = draw(st.integers(1, 60))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).dirichlet([0.3, 0.3, 1.0], frames)
    return rate, beats, options, np.clip(values, 1e-5, 1).T


@given(problems())
@settings(max_examples=150)
def test_the_path_is_that_of_an_exhaustive_search(problem):
    rate, beats, options, (down, other, none) = problem
    model, strength = bar_model(rate, beats, **options), options["transition_lambda"]
    lambdas = strength if isinstance(strength, tuple) else (strength,) * beats
    states = statewise.states(model.intervals, beats, lambdas, options["observation_lambda"])
    if beats == 1:
        none = 1 - np.minimum(down, 0.9)
        down = other = 1 - none
    else:
        total = down + other + none
        down, other = down / total, other / total
        none = 1 - other - down
    assert model.states == len(states.beats)
    assert model.transitions == np.isfinite(states.log_transitions).sum()
    expected, log_probability = statewise.viterbi(
        states, statewise.densities(states, down, other, none, options["observation_lambda"])
    )
    weight = options["observation_lambda"]
    seen = beat_evidence(other, weight) if beats == 1 else evidence(down, other, weight)
    path = viterbi(model, seen)
    assert path.log_probability == pytest.approx(log_probability, abs=1e-6)
    frames = np.arange(len(down))
    entry = np.searchsorted(path.frames, frames, side="right") - 1
    found = (path.beats[entry], path.intervals[entry], frames - path.frames[entry])
    assert [column.tolist() for column in found] == [
        states.beats[expected].tolist(),
        states.intervals[expected].tolist(),
        states.places[expected].tolist(),
    ]


def test_a_recording_in_blocks_is_decoded_as_in_one():
    rng = np.random.default_rng(0)
    other, down = 0.45 * rng.random((2, 3000))
    model, seen = bar_model(50, 3, **RANGE), evidence(down, other)
    whole, pieces = viterbi(model, seen), viterbi(model, seen, block_bytes=1)
    assert pieces.log_probability == whole.log_probability
    for name in ("frames", "beats", "intervals", "widths"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))


def test_the_memory_of_a_day_is_that_of_a_song():
    rate = 5.0
    activations = 0.9 * np.random.default_rng(0).random(int(24 * 3600 * rate))
    model, seen = bar_model(rate, 4, min_bpm=55, max_bpm=100), beat_evidence(activations)
    viterbi(model, beat_evidence(activations[:1000]))
    tracemalloc.start()
    path = viterbi(model, seen, block_bytes=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(path.frames) > 24 * 60 * 55
    assert peak < 16 * 2**20, "of which 3 MB are entries, and 1 MB the scores of a block"
