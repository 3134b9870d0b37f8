"""Keys, numerals and voicings."""

from __future__ import annotations

import mir_eval
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.demo.styles import STYLES
from datasets.demo.theory import KEYS, Tonality, chord, nearest, progression, voice


def test_the_24_keys_have_distinct_names_that_mir_eval_reads():
    assert len({key.name for key in KEYS}) == 24
    for key in KEYS:
        mir_eval.key.validate_key(key.name)
        tonic, mode = mir_eval.key.split_key_string(key.name)
        assert (tonic, mode) == (key.tonic, key.mode)


@pytest.mark.parametrize(
    ("numeral", "key", "classes"),
    [
        ("I", Tonality(0, "major"), {0, 4, 7}),
        ("ii7", Tonality(0, "major"), {2, 5, 9, 0}),
        ("V7", Tonality(9, "minor"), {4, 8, 11, 2}),
        ("VI", Tonality(9, "minor"), {5, 9, 0}),
        ("bVII", Tonality(7, "major"), {5, 9, 0}),
        ("iim7b5", Tonality(0, "minor"), {2, 5, 8, 0}),
    ],
)
def test_numerals_mean_the_chords_of_the_textbook(numeral, key, classes):
    assert set(chord(numeral, key).classes) == classes


@pytest.mark.parametrize("numeral", ["H", "I13", "", "iiii", "IIII"])
def test_an_unreadable_numeral_is_named(numeral):
    with pytest.raises(ValueError, match="Roman numeral"):
        chord(numeral, KEYS[0])


@pytest.mark.parametrize("name", sorted(STYLES))
def test_voicings_hold_the_chord_near_the_centre_and_move_little(name):
    moves = []
    for key in KEYS:
        for text in STYLES[name].major if key.mode == "major" else STYLES[name].minor:
            chords = [harmony for bar in progression(text, key) for harmony in bar]
            voicing = voice(chords[0], (), 60)
            for harmony in chords[1:]:
                following = voice(harmony, voicing, 60)
                assert {pitch % 12 for pitch in following} <= set(harmony.classes)
                assert harmony.root in {pitch % 12 for pitch in following}
                assert list(following) == sorted(set(following))
                assert abs(sum(following) / len(following) - 60) <= 7
                moves.append(max(min(abs(pitch - other) for other in voicing) for pitch in following))
                voicing = following
    assert max(moves) <= 10  # where a chord grows by a voice; rarely above a fifth
    assert sum(moves) / len(moves) <= 4


@given(st.floats(24, 100), st.sets(st.integers(0, 11), min_size=1))
def test_nearest_is_in_the_classes_and_within_half_an_octave(pitch, classes):
    found = nearest(pitch, sorted(classes))
    assert found % 12 in classes
    assert abs(found - pitch) <= 6
