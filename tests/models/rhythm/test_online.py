"""The forward algorithm: equal to its definition, causal, in pieces as at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.rhythm.bar_model import bar_model
from models.rhythm.observations import exclusive
from models.rhythm.online import OnlineTracker
from tests.models.rhythm import statewise

BARS = {2: 0.0, 3: -0.5}
RATE, RANGE = 15.625, {"min_bpm": 100.0, "max_bpm": 180.0}


def activations(frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    beat = rng.random(frames)
    return beat, beat * rng.random(frames)


def by_definition(beat: np.ndarray, downbeat: np.ndarray) -> tuple[list[int], list[int]]:
    """Frames and positions of beats; bars of both lengths are weighed against each other by their probabilities."""
    down, other = exclusive(beat, downbeat)
    models = {
        length: statewise.states(bar_model(RATE, length, **RANGE).intervals, length, (100.0,) * length)
        for length in BARS
    }
    size = sum(len(model.beats) for model in models.values())
    joined = np.full((size, size), -np.inf)
    at = 0
    for model in models.values():
        joined[at : at + len(model.beats), at : at + len(model.beats)] = model.log_transitions
        at += len(model.beats)
    parts = list(models.values())
    numbers, intervals, places, widths = (
        np.concatenate([getattr(model, name) for model in parts]) for name in ("beats", "intervals", "places", "widths")
    )
    states = statewise.States(numbers, intervals, places, joined, widths)
    start = np.concatenate([np.full(len(m.beats), np.exp(BARS[n]) / len(m.beats)) for n, m in models.items()])
    probabilities = statewise.forward(states, statewise.densities(states, down, other, 1 - down - other), start)
    shortest = min(intervals)
    frames, positions, last = [], [], -np.inf
    for frame, state in enumerate(probabilities.argmax(1)):
        if states.heard[state] and frame - last >= shortest:
            frames.append(frame)
            positions.append(int(numbers[state]) + 1)
            last = frame
    return frames, positions


@pytest.mark.parametrize("seed", range(3))
def test_beats_are_those_of_the_likeliest_state_of_each_frame(seed):
    beat, downbeat = activations(300, seed)
    found = OnlineTracker(RATE, BARS, **RANGE).push(beat, downbeat)
    frames, positions = by_definition(beat, downbeat)
    np.testing.assert_allclose(found.times * RATE, frames)
    assert found.positions.tolist() == positions


def test_pieces_of_any_length_give_what_the_whole_gives():
    beat, downbeat = activations(400)
    whole = OnlineTracker(RATE, BARS, **RANGE).push(beat, downbeat)
    tracker = OnlineTracker(RATE, BARS, **RANGE)
    cuts = [0, 1, 2, 50, 51, 230, 400]
    pieces = [tracker.push(beat[a:b], downbeat[a:b]) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([piece.times for piece in pieces]), whole.times)
    np.testing.assert_array_equal(np.concatenate([piece.positions for piece in pieces]), whole.positions)


def test_a_beat_in_the_first_frames_is_found():
    beat = np.where(np.arange(500) % 25 == 1, 0.95, 0.01)
    times = OnlineTracker(50, {1: 0.0}).push(beat, None).times
    assert times[0] == pytest.approx(0.02)
    np.testing.assert_allclose(times[-8:] * 50 % 25, 1)


def test_no_beat_is_lost_at_the_fastest_tempo():
    """At 211 BPM a beat has 28.4 frames; the model knows whole ones."""
    beat = np.where(np.arange(1000) % 28 == 0, 0.95, 0.01)
    times = OnlineTracker(100, {1: 0.0}, max_bpm=211.0).push(beat, None).times
    np.testing.assert_allclose(np.diff(times)[3:], 0.28)


def test_an_hour_of_silence_keeps_the_state_in_range():
    rate = 10.0
    tracker = OnlineTracker(rate, {4: 0.0}, max_bpm=120.0)
    tracker.push(np.zeros(int(3600 * rate)), np.zeros(int(3600 * rate)))
    beat = np.where(np.arange(300) % 6 == 0, 0.9, 0.01)
    found = tracker.push(beat, np.where(np.arange(300) % 24 == 0, 0.85, 0.001) * beat / 0.9)
    assert len(found) > 30
    np.testing.assert_allclose(np.diff(found.times)[-10:], 0.6)
    assert found.metre == 4
