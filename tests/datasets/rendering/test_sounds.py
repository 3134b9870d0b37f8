"""What is heard: effects keep onsets where they are, drums and bass follow the beats, synthesizers play in tune."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest

from datasets.demo import kernels
from datasets.demo.rendering import basslines, effects, kits
from datasets.demo.rendering.electronic import Synthesizer
from datasets.demo.rendering.grid import Meter, of_bars
from datasets.demo.rendering.mixing import mixed
from datasets.demo.rendering.piece import MidiPart, MidiPiece
from datasets.demo.synth import Note, check_soundfont, perform
from tests.datasets.rendering.test_timing import METERS

RATE = 22050


def clicks(seconds: float, rate: int) -> np.ndarray:
    """Short bursts, every half second."""
    sound = np.zeros(round(seconds * rate), np.float32)
    burst = np.random.default_rng(0).standard_normal(400) * np.exp(-np.arange(400) / 80)
    for begin in range(rate // 4, len(sound) - 400, rate // 2):
        sound[begin : begin + 400] = 0.2 * burst
    return sound


@pytest.mark.parametrize("rate", [22050, 44100])
@pytest.mark.parametrize("codec", effects.CODECS)
def test_codecs_leave_the_sound_where_it_was_however_long_it_is(codec, rate):
    sound = clicks(70.0, rate)
    coded = effects.coded(sound, rate, codec, 0.6)
    assert coded.shape == sound.shape
    short = slice(0, 2 * rate)
    alike = np.correlate(coded[short], sound[short][64:-64])
    assert abs(int(alike.argmax()) - 64) <= 2
    assert not np.array_equal(coded, sound)


@pytest.mark.parametrize("seed", range(12))
def test_production_keeps_onsets_length_and_range(seed):
    sound = clicks(4.0, RATE)
    produced = effects.produced(random.Random(seed), sound, RATE)
    assert produced.dtype == np.float32
    assert produced.shape == sound.shape
    assert np.isfinite(produced).all()
    assert np.abs(produced).max() < 1.5
    np.testing.assert_array_equal(produced, effects.produced(random.Random(seed), sound, RATE))
    level = np.convolve(np.abs(produced), np.ones(64) / 64, "same")
    for begin in range(RATE // 4, len(sound) - RATE // 4, RATE // 2):
        assert level[begin : begin + 400].max() > 1.2 * level[begin - 600 : begin - 100].max()


def test_a_compressor_turns_down_what_is_loud():
    sound = np.concatenate((np.full(RATE, 0.05), np.full(RATE, 0.8))).astype(np.float32)
    quieter = effects.compressed(sound, RATE, -6.0, 4.0, 0.1)
    assert quieter[RATE // 2] == pytest.approx(sound[0])
    assert quieter[-1] < 0.7 * sound[-1]


@pytest.mark.parametrize("meter", METERS, ids=str)
def test_drums_fall_on_the_grid_of_every_metre(meter):
    grid = of_bars([(meter, 16)], 100.0)
    downbeats = 0
    for seed in range(20):
        notes = kits.played(random.Random(seed), grid)
        assert notes == kits.played(random.Random(seed), grid)
        starts = np.array([note.start for note in notes])
        assert (starts >= 0).all()
        assert (starts < grid.times[-1]).all()
        downbeats += np.isin(np.round(starts, 6), np.round(grid.times[grid.positions == 1], 6)).any()
    assert downbeats > 15


def test_groups_fill_their_bar():
    for length in range(2, 12):
        groups = kits.grouped(random.Random(length), length, Meter(length, 8 if length in (5, 7) else 4))
        sizes = np.diff([*groups, length])
        assert set(sizes) <= {1, 2, 3}
        assert sizes.sum() == length


def test_a_bass_plays_the_roots():
    grid = of_bars([(Meter(4, 4), 8)], 120.0)
    chords = tuple(
        Note(time, 2.0, pitch, 80)
        for bar, time in enumerate(grid.times[::4].tolist())
        for pitch in ((48, 52, 55), (53, 57, 60))[bar % 2]
    )
    part = MidiPart(chords, 0, False, "chords")
    for seed in range(20):
        line = basslines.played(random.Random(seed), [part], grid, grid.times.tolist())
        assert len(line) >= 7
        for note in line[:1]:
            assert note.pitch % 12 == 0
        assert all(28 <= note.pitch <= 52 for note in line)


@pytest.mark.parametrize("key", [48, 60, 69])
@pytest.mark.parametrize("seed", range(3))
def test_synthesizers_are_in_tune_and_repeat_themselves(seed, key):
    zones = partial(Synthesizer(seed).zones, 5, False)
    sound = perform([Note(0.0, 1.0, key, 120)], zones, 0.0, RATE, RATE)
    np.testing.assert_array_equal(sound, perform([Note(0.0, 1.0, key, 120)], zones, 0.0, RATE, RATE))
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * RATE))
    pitch = 440 * 2 ** ((key - 69) / 12)
    low, high = round(4 * pitch * 0.94), round(4 * pitch * 1.06)
    found = (low + spectrum[low:high].argmax()) / 4
    assert 12 * abs(np.log2(found / pitch)) < 0.3


def test_every_drum_of_a_machine_is_heard():
    for seed in range(3):
        for key in range(35, 82):
            zones = partial(Synthesizer(seed).zones, 0, True)
            assert np.abs(perform([Note(0.0, 0.1, key, 100)], zones, 0.0, RATE // 2, RATE)).max() > 0.01


@pytest.mark.parametrize("rate", [22050, 44100])
def test_a_clip_is_the_same_piece_at_any_rate(rate):
    grid = of_bars([(Meter(4, 4), 4)], 120.0)
    notes = tuple(Note(time, 0.3, 60, 100) for time in grid.times.tolist())
    piece = MidiPiece("a.mid", (MidiPart(notes, 0, False, "melody"),), grid)
    sound = mixed(random.Random(3), piece, 0.25, 3.0, rate, [check_soundfont()], 0.0)
    assert sound.shape == (3 * rate,)
    assert np.abs(sound).max() <= 0.98
    late = round(0.25 * rate)  # the next beat
    assert np.abs(sound[late : late + rate // 20]).max() > 2 * np.abs(sound[late - rate // 20 : late - 20]).max()


def test_compiled_interpolation_gives_the_bytes_that_arrays_would():
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(2000).astype(np.float32)
    places = np.cumsum(rng.uniform(0.5, 1.9, 1500))
    places = places[places < len(sound) - 4]
    whole = places.astype(np.int64)
    part = (places - whole).astype(np.float32)
    before, at, after, last = (sound[whole + shift] for shift in range(4))
    curve = 2 * before - 5 * at + 4 * after - last + part * (3 * (at - after) + last - before)
    np.testing.assert_array_equal(kernels.between(sound, places), at + 0.5 * part * (after - before + part * curve))
    with pytest.raises(ValueError, match="places up to"):
        kernels.between(sound, np.array([1998.0]))
