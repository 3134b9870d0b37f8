"""The synthesizer: where a note stands, how loud it is, how it ends."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.demo import DemoError
from datasets.demo.compose import compose
from datasets.demo.render import CEILING, master, render_piece, rms
from datasets.demo.styles import KIT
from datasets.demo.synth import Note, check_soundfont, play
from datasets.demo.tones import LONGEST_TAIL, SAMPLE_RATE

CABASA = 69  # a rattle, whose sample takes a while to rise


@pytest.fixture(scope="module")
def font():
    return check_soundfont()


def onset(sound: np.ndarray) -> float:
    """Seconds at which a sound first reaches a fifth of its peak."""
    return float(np.argmax(np.abs(sound) > 0.2 * np.abs(sound).max())) / SAMPLE_RATE


@pytest.mark.parametrize("key", sorted({key for keys in KIT.values() for key in keys}))
def test_drums_sound_within_15_ms_of_their_note(font, key):
    swells = 0.01 if key == CABASA else 0.0
    late = onset(play([Note(0.5, 0.1, key, 100)], 0, True, font, 0.0, SAMPLE_RATE)) - 0.5
    assert late == pytest.approx(swells, abs=0.015)


def test_every_drum_hit_of_a_piece_has_an_onset_where_its_note_is(font):
    piece = next(
        piece for piece in (compose(0, i, 8.0) for i in range(20)) if any(p.role == "low" for p in piece.parts)
    )
    part = next(part for part in piece.parts if part.role == "low")
    sound = np.abs(play(part.notes, 0, True, font, piece.start, 8 * SAMPLE_RATE))
    heard = [note for note in part.notes if 0.1 < note.start - piece.start < 7.9]
    assert len(heard) > 5
    for note in heard:
        at = round((note.start - piece.start) * SAMPLE_RATE)
        before, after = sound[at - 220 : at].max(), sound[at : at + round(0.015 * SAMPLE_RATE)].max()
        assert after > 2 * before


def test_beats_in_the_file_lie_on_the_bass_drum_of_house(font):
    """Four on the floor: the audio of the low drum is loudest, on average, at the beats."""
    piece = next(p for p in (compose(0, i, 8.0) for i in range(2, 80, 10)) if any(q.role == "low" for q in p.parts))
    part = next(part for part in piece.parts if part.role == "low")
    sound = np.abs(play(part.notes, 0, True, font, piece.start, 8 * SAMPLE_RATE))
    beats = [time - piece.start for time in piece.beats if 0.1 < time - piece.start < 7.8]
    for beat in beats:
        window = sound[round((beat - 0.06) * SAMPLE_RATE) : round((beat + 0.06) * SAMPLE_RATE)]
        assert onset(window) - 0.06 == pytest.approx(0, abs=0.03)


def test_level_follows_velocity_and_notes_add_up(font):
    loud = play([Note(0.1, 0.3, 60, 120)], 0, False, font, 0.0, SAMPLE_RATE)
    soft = play([Note(0.1, 0.3, 60, 60)], 0, False, font, 0.0, SAMPLE_RATE)
    assert rms(loud) / rms(soft) == pytest.approx(4, rel=1e-3)
    other = play([Note(0.4, 0.3, 67, 90)], 0, False, font, 0.0, SAMPLE_RATE)
    both = play([Note(0.1, 0.3, 60, 120), Note(0.4, 0.3, 67, 90)], 0, False, font, 0.0, SAMPLE_RATE)
    np.testing.assert_allclose(both, loud + other, atol=1e-6)


def test_a_window_hears_what_began_before_it(font):
    notes = [Note(0.2, 1.5, 64, 100)]
    whole = play(notes, 48, False, font, 0.0, 2 * SAMPLE_RATE)
    late = play(notes, 48, False, font, 1.0, SAMPLE_RATE)
    np.testing.assert_array_equal(late, whole[SAMPLE_RATE:])


def test_notes_end_without_a_click_and_fall_silent(font):
    string = play([Note(0.0, 0.5, 60, 100)], 48, False, font, 0.0, 2 * SAMPLE_RATE)
    assert rms(string[round(0.52 * SAMPLE_RATE) : round(0.54 * SAMPLE_RATE)]) > 0.1 * rms(string[: SAMPLE_RATE // 2])
    assert not string[round((0.5 + LONGEST_TAIL) * SAMPLE_RATE) + 1 :].any()
    ride = play([Note(0.0, 0.1, 51, 100)], 0, True, font, 0.0, 2 * SAMPLE_RATE)
    assert not ride[round((0.1 + LONGEST_TAIL) * SAMPLE_RATE) + 1 :].any()


def test_a_drum_without_length_is_heard(font):
    assert np.abs(play([Note(0.1, 0.0, 38, 100)], 0, True, font, 0.0, SAMPLE_RATE)).max() > 0.01


def test_a_mix_has_its_length_loudness_and_levels(font):
    piece = compose(0, 1, 6.0)
    mix = render_piece(piece, font)
    assert mix.audio.shape == (6 * SAMPLE_RATE,)
    assert np.abs(mix.audio).max() <= CEILING + 1e-6
    assert 20 * np.log10(rms(mix.audio)) <= piece.loudness + 0.1
    assert 20 * np.log10(rms(mix.audio)) >= piece.loudness - 6
    assert set(mix.levels) == {part.role for part in piece.parts}
    np.testing.assert_array_equal(mix.audio, render_piece(piece, font).audio)


def test_mastering_turns_down_and_fades():
    loud = master(np.full(SAMPLE_RATE, 3.0))
    assert loud.max() == pytest.approx(CEILING)
    assert loud[0] == loud[-1] == 0
    assert np.abs(master(np.full(SAMPLE_RATE, 0.1))).max() == pytest.approx(0.1)


@pytest.mark.parametrize(
    "content", [None, b"", b"no soundfont", b"RIFF\x00\x00\x00\x00sfbk", b"RIFFxxxxsfbk" + bytes(5000)]
)
def test_a_bad_soundfont_is_named(tmp_path, content):
    path = tmp_path / "mine.sf2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DemoError, match=r"mine\.sf2.*General MIDI"):
        check_soundfont(path)
