"""Notes and beats move together, whatever is done to their times."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.demo.rendering import timing
from datasets.demo.rendering.grid import Meter, of_bars
from datasets.demo.rendering.loops import another_meter, repeated
from datasets.demo.rendering.piece import KeySpan, MidiPart, MidiPiece
from datasets.demo.rendering.recipes import KINDS, halved
from datasets.demo.synth import Note

SEEDS = st.integers(0, 10_000)
METERS = [Meter(4, 4), Meter(3, 4), Meter(6, 8), Meter(5, 4), Meter(7, 8), Meter(2, 4)]


def on_the_beat(meter: Meter = METERS[0], bars: int = 16, tempo: float = 100.0) -> MidiPiece:
    """A piece with a note on each beat; its pitch is 60 and the position in the bar."""
    grid = of_bars([(meter, bars)], tempo, 0.5)
    places = zip(grid.times.tolist(), grid.positions.tolist(), strict=True)
    notes = tuple(Note(time, 0.2, 60 + place, 90) for time, place in places)
    drums = tuple(note._replace(pitch=36 if note.pitch == 61 else 42) for note in notes)
    return MidiPiece("a.mid", (MidiPart(notes, 0, False, "melody"), MidiPart(drums, 0, True, "drums")), grid)


def apart(piece: MidiPiece) -> np.ndarray:
    """Seconds from each note of the first part to the nearest beat."""
    starts = np.array([note.start for note in piece.parts[0].notes])
    return np.abs(starts[:, None] - piece.grid.times).min(1)


@given(SEEDS, st.sampled_from(METERS), st.floats(0.0, 0.3))
@settings(max_examples=30, deadline=None)
def test_rubato_and_drift_keep_notes_on_their_beats(seed, meter, depth):
    piece = on_the_beat(meter)
    for curve in (timing.rubato, timing.drifting):
        after = curve(random.Random(seed), piece.grid, depth)
        moved = piece.warped(timing.between(piece.grid.times, after))
        assert apart(moved).max() < 1e-9
        assert (np.diff(moved.grid.times) > 0.02).all()
        assert moved.grid.times[0] == piece.grid.times[0]


@given(st.floats(0.5, 2.0))
def test_a_tempo_scales_the_beats(factor):
    piece = on_the_beat()
    moved = piece.warped(timing.faster(factor))
    np.testing.assert_allclose(moved.grid.times * factor, piece.grid.times)
    assert moved.grid.beats().tempo == pytest.approx(factor * piece.grid.beats().tempo)
    np.testing.assert_array_equal(moved.grid.positions, piece.grid.positions)


@given(SEEDS, st.floats(30, 300), st.floats(0.5, 0.9), st.floats(1.1, 2.0))
def test_a_drawn_tempo_stays_within_its_bounds(seed, tempo, low, high):
    assert low <= timing.scale(random.Random(seed), tempo, low, high) <= high


def test_swing_delays_the_offbeats_alone():
    grid = of_bars([(Meter(4, 4), 4)], 120.0)
    warp = timing.swung(grid, 2 / 3)
    np.testing.assert_allclose(warp(grid.times), grid.times, atol=1e-9)
    np.testing.assert_allclose(warp(grid.times[:-1] + 0.25), grid.times[:-1] + 1 / 3, atol=1e-9)


@given(SEEDS, st.sampled_from(METERS))
@settings(max_examples=30, deadline=None)
def test_a_loop_repeats_what_it_took(seed, meter):
    looped = repeated(random.Random(seed), on_the_beat(meter))
    assert apart(looped).max() < 1e-6
    assert looped.grid.positions[0] == 1
    assert set(np.diff(np.flatnonzero(looped.grid.positions == 1))) == {meter.beats}
    np.testing.assert_allclose(np.diff(looped.grid.times), 0.6, atol=1e-6)


@given(SEEDS, st.sampled_from([Meter(4, 4), Meter(3, 4), Meter(2, 4)]))
@settings(max_examples=30, deadline=None)
def test_another_metre_has_its_downbeats_where_the_bars_begin(seed, meter):
    changed = another_meter(random.Random(seed), on_the_beat(meter))
    assert set(changed.grid.meters) != {meter}
    starts = {round(note.start, 6) for note in changed.parts[0].notes if note.pitch == 61}
    downbeats = {round(time, 6) for time in changed.grid.times[changed.grid.positions == 1].tolist()}
    assert starts == downbeats
    for first, length in changed.grid.bars():
        assert changed.grid.meters[first].beats == length


def test_halved_beats_stay_in_bars():
    grid = halved(of_bars([(Meter(4, 4), 2)], 50.0))
    assert grid.positions.tolist() == [1, 2, 3, 4] * 3 + [1, 2, 3]
    assert grid.beats().tempo == pytest.approx(100)
    waltz = of_bars([(Meter(3, 4), 2)], 50.0)
    assert halved(waltz) is waltz


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"written"}))
@given(seed=SEEDS, meter=st.sampled_from(METERS))
@settings(max_examples=12, deadline=None)
def test_every_kind_is_drawn_from_its_seed_and_keeps_its_truth(kind, seed, meter):
    piece = on_the_beat(meter, bars=20)
    one, other = (KINDS[kind].vary(random.Random(seed), piece) for _ in range(2))
    assert one.parts == other.parts
    np.testing.assert_array_equal(one.grid.times, other.grid.times)
    assert (np.diff(one.grid.times) > 0).all()
    assert len(one.grid) == len(one.grid.meters) == len(one.grid.positions)
    for first, length in one.grid.bars():
        assert one.grid.positions[first : first + length].tolist() == list(range(1, length + 1))
    if kind in ("piano", "score"):
        assert np.median(apart(one)) < 0.05


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_transposed_score_is_in_the_key_that_it_says(seed):
    piece = replace(on_the_beat(), keys=(KeySpan(0.0, 99.0, 0, minor=False),))
    for kind in ("score", "piano"):
        varied = KINDS[kind].vary(random.Random(seed), piece)
        pitches = {(note.pitch - varied.keys[0].tonic) % 12 for note in varied.parts[0].notes}
        assert pitches == {1, 2, 3, 4}
