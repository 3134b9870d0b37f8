"""Pieces and their truth, before any sound."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import pairwise
from statistics import median

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.demo import truth
from datasets.demo.compose import VERSION, compose
from datasets.demo.styles import FAMILIES, GENRES, KIT, PRESENCE, ROLES, STYLES
from datasets.demo.synth import Note

SECONDS = 12.0


@pytest.fixture(scope="module")
def pieces():
    return [compose(0, index, SECONDS) for index in range(120)]


def test_patterns_fit_their_metre():
    for style in STYLES.values():
        for patterns in (style.low, style.mid, style.high, style.bass, style.comp, style.melody):
            assert all(len(pattern) % (4 * style.beats) == 0 for pattern in patterns)


def test_the_notes_of_this_composer_version_do_not_change():
    pieces = [compose(3, index, 5.0) for index in range(len(GENRES))]
    notes = [
        (round(1e4 * n.start), n.pitch, round(n.velocity)) for piece in pieces for p in piece.parts for n in p.notes
    ]
    digest = hashlib.sha256(repr(notes).encode()).hexdigest()[:16]
    assert (VERSION, digest) == (2, "07c8297af62e128a"), "the music changed: raise VERSION and put the new digest here"


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 10**4), st.floats(5, 15))
def test_truth_holds_for_any_piece(seed, index, seconds):
    piece = compose(seed, index, seconds)
    assert piece == compose(seed, index, seconds)
    times, positions = zip(*truth.beats(piece), strict=True)
    assert times[0] >= 0
    assert times[-1] < seconds
    assert all(later > earlier for earlier, later in pairwise(times))
    assert all(after == before % piece.meter + 1 for before, after in pairwise(positions))
    assert truth.tempo(piece) == pytest.approx(60 / median(np.diff(times)))
    assert all(59.99 <= 60 / gap <= 180.01 for gap in np.diff(times))
    assert seconds - times[-1] <= 60 / 59, "beats reach the end"
    assert 1 <= truth.arousal(piece) <= 9
    assert 1 <= truth.valence(piece) <= 9
    mir_eval.key.validate_key(piece.key.name)
    for part in piece.parts:
        assert all(0 <= note.pitch <= 127 and 1 <= note.velocity <= 127 and note.duration > 0 for note in part.notes)


def test_a_piece_does_not_depend_on_how_many_there_are(pieces):
    assert compose(0, 7, SECONDS) == pieces[7]
    assert compose(1, 7, SECONDS) != pieces[7]


def test_every_key_comes_once_in_24_pieces_and_every_style_in_10(pieces):
    assert set(Counter(piece.key for piece in pieces[:24]).values()) == {1}
    assert Counter(piece.style for piece in pieces) == dict.fromkeys(GENRES, 12)
    assert len(GENRES) >= 8


def test_tempi_metres_drift_and_swing_vary(pieces):
    tempi = [truth.tempo(piece) for piece in pieces]
    assert min(tempi) < 80
    assert max(tempi) > 150
    assert {piece.meter for piece in pieces} == {3, 4}
    drifting = [np.ptp(np.diff(piece.beats)) > 1e-6 for piece in pieces]
    assert 0.15 < np.mean(drifting) < 0.55


def test_styles_share_their_instruments(pieces):
    styles = defaultdict(set)
    for piece in [*pieces, *(compose(1, index, SECONDS) for index in range(200))]:
        for part in piece.parts:
            styles[part.family].add(piece.style)
    assert set(styles) == set(FAMILIES)
    assert min(len(found) for found in styles.values()) >= 7
    assert all(set(pool) <= set(FAMILIES) for pool in ROLES.values())
    assert set(PRESENCE) == {*ROLES, "drums"}


def kick_and_snare(piece) -> np.ndarray:
    """Where in the bar the low and mid drums fall: a histogram over sixteenths, [2, 16], each row of sum 1."""
    grid = np.zeros((2, 16))
    for part in piece.parts:
        if part.role in ("low", "mid"):
            beats = np.interp([note.start for note in part.notes], piece.beats, np.arange(len(piece.beats)))
            steps = np.round(beats % piece.meter * 4).astype(int) % (4 * piece.meter)
            np.add.at(grid[int(part.role == "mid")], steps, 1)
    return grid / np.maximum(grid.sum(1, keepdims=True), 1)


def test_styles_are_told_apart_by_where_the_drums_fall(pieces):
    """The nearest of ten average patterns, learnt on half of the pieces, names the style of most of the others."""
    drummed = [piece for piece in pieces if any(part.family == "drums" for part in piece.parts)]
    patterns = {name: [kick_and_snare(piece) for piece in drummed[::2] if piece.style == name] for name in GENRES}
    means = {name: np.mean(found, axis=0) for name, found in patterns.items()}
    named = [min(means, key=lambda name: np.abs(means[name] - kick_and_snare(piece)).sum()) for piece in drummed[1::2]]
    assert np.mean([piece.style == name for piece, name in zip(drummed[1::2], named, strict=True)]) > 0.7


def test_harmony_is_in_the_key(pieces):
    """The tonic triad belongs to most pieces' favourite pitch classes: a key can be heard."""
    for piece in pieces:
        weight = Counter()
        for part in piece.parts:
            if part.family != "drums":
                for note in part.notes:
                    weight[note.pitch % 12] += note.duration
        inside = sum(weight[tone] for tone in piece.key.scale)
        if weight:
            assert inside / weight.total() > 0.6, (piece.style, piece.key.name)


def test_tags_need_notes_and_level():
    piece = compose(0, 0, SECONDS)
    families = {part.family for part in piece.parts}
    assert set(truth.tags(piece, {part.role: -6.0 for part in piece.parts})) == families
    assert truth.tags(piece, {part.role: -60.0 for part in piece.parts}) == []
    assert truth.tags(piece, {}) == []


def test_arousal_and_valence_follow_their_rules():
    first = compose(0, 0, SECONDS)
    louder = first.__class__(**{**first.__dict__, "loudness": first.loudness + 3})
    assert truth.arousal(louder) > truth.arousal(first)
    pieces = [compose(0, index, SECONDS) for index in range(60)]
    major = [truth.valence(piece) for piece in pieces if piece.key.mode == "major"]
    minor = [truth.valence(piece) for piece in pieces if piece.key.mode == "minor"]
    assert min(np.percentile(major, [10])) > max(np.percentile(minor, [90]))


@given(st.lists(st.sampled_from(GENRES), min_size=1, max_size=120), st.integers(0, 99))
def test_splits_are_stratified(genres, seed):
    assigned = truth.splits(genres, seed)
    assert assigned == truth.splits(genres, seed)
    for genre, count in Counter(genres).items():
        found = Counter(split for split, other in zip(assigned, genres, strict=True) if other == genre)
        assert found["train"] >= 1
        assert found["valid"] == found["test"]
        if count >= 3:
            assert found["test"] >= 1
            assert abs(found["test"] - 0.2 * count) <= 0.6


def test_drum_voices_are_general_midi_keys():
    assert all(35 <= pitch <= 81 for keys in KIT.values() for pitch in keys)
    assert Note(0.0, 1.0, 60, 90).pitch == 60
