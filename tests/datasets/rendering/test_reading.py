"""MIDI files and what lies beside them -> beats, metres, keys."""

from __future__ import annotations

import numpy as np
import pytest
import symusic

from datasets.demo import DemoError
from datasets.demo.rendering.beside import counted
from datasets.demo.rendering.grid import Meter
from datasets.demo.rendering.reading import read_piece
from tests.datasets.rendering.songs import TPQ, song


@pytest.mark.parametrize(
    ("meter", "beats", "apart"),
    [((4, 4), 4, 0.5), ((3, 4), 3, 0.5), ((2, 2), 2, 1.0), ((6, 8), 2, 0.75), ((12, 8), 4, 0.75), ((9, 8), 3, 0.75),
     ((5, 4), 5, 0.5), ((7, 8), 7, 0.25), ((3, 8), 3, 0.25)],
)  # fmt: skip
def test_beats_follow_the_time_signature(tmp_path, meter, beats, apart):
    piece = read_piece(song(tmp_path / "a.mid", [(0, *meter)]), tmp_path)
    np.testing.assert_allclose(np.diff(piece.grid.times), apart, atol=1e-6)
    assert piece.grid.positions[: beats + 1].tolist() == [*range(1, beats + 1), 1]
    assert set(piece.grid.meters) == {Meter(*meter)}
    assert str(piece.grid.meters[0]) == "{}/{}".format(*meter)


def test_metre_and_tempo_change_inside_of_a_piece(tmp_path):
    path = song(tmp_path / "a.mid", [(0, 4, 4), (8, 3, 4), (14, 6, 8)], [(0, 120), (8, 60)], quarters=20)
    grid = read_piece(path, tmp_path).grid
    assert grid.positions.tolist()[:18] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 1, 2, 1, 2]
    np.testing.assert_allclose(np.diff(grid.times)[:8], 0.5, atol=1e-6)
    np.testing.assert_allclose(np.diff(grid.times)[8:14], 1.0, atol=1e-6)
    np.testing.assert_allclose(np.diff(grid.times)[14:17], 1.5, atol=1e-6)
    assert [length for _, length in grid.bars()][:5] == [4, 4, 3, 3, 2]


@pytest.mark.parametrize(("signature", "name"), [((0, 0), "C major"), ((-3, 0), "Eb major"), ((3, 1), "F# minor")])
def test_keys_follow_the_key_signature(tmp_path, signature, name):
    piece = read_piece(song(tmp_path / "a.mid", key=signature), tmp_path)
    assert [key.name for key in piece.keys] == [name]
    assert piece.transposed(2).transposed(-2).keys == piece.keys
    assert piece.transposed(12).keys == piece.keys
    assert read_piece(song(tmp_path / "b.mid", key=signature, drum=True), tmp_path).keys == ()


@pytest.mark.parametrize(
    ("name", "lines", "positions"),
    [
        ("a.beats", ["0.5 3", "1.0 4", "1.5 1", "2.0 2"], [3, 4, 1, 2]),
        ("a.beats", ["0.5", "1.0"], [0, 0]),
        ("a_annotations.txt", ["0.5\t0.5\tb", "1.0\t1.0\tdb,3/4,0", "1.5\t1.5\tb", "2.0\t2.0\tb", "2.5\t2.5\tdb"],
         [3, 1, 2, 3, 1]),
        ("beat_midi.txt", [f"{0.5 * n} {float(n % 2 == 1)} {float(n % 4 == 1)}" for n in range(8)],
         [4, 1, 2, 3, 4, 1, 2, 3]),
        ("beat_midi.txt", [f"{0.5 * n} {float(n % 3 == 1)} {float(n % 6 == 1)}" for n in range(8)],
         [3, 1, 2, 3, 1, 2, 3, 1]),
    ],
)  # fmt: skip
def test_a_file_of_beats_beside_it_knows_better(tmp_path, name, lines, positions):
    path = song(tmp_path / "a.mid", [(0, 1, 4)])
    (tmp_path / name).write_text("\n".join(lines))
    grid = read_piece(path, tmp_path).grid
    assert grid.positions.tolist() == positions
    assert grid.times[:2].tolist() == [float(line.split()[0]) for line in lines[:2]]


def test_a_file_for_no_one_in_particular_is_for_a_file_that_is_alone(tmp_path):
    first = song(tmp_path / "a.mid")
    (tmp_path / "beat_midi.txt").write_text("0.0 1 1\n9.0 0 0\n")
    assert read_piece(first, tmp_path).grid.times[1] == 9.0
    song(tmp_path / "b.mid")
    assert read_piece(first, tmp_path).grid.times[1] == pytest.approx(0.5)


@pytest.mark.parametrize("text", ["", "no beats here", "1.0 1\n0.5 0\n", "nan 1\n", "0.5 1.5\n", "# nothing\n"])
def test_a_bad_file_of_beats_is_named(tmp_path, text):
    path = song(tmp_path / "a.mid")
    (tmp_path / "a.beats").write_text(text)
    with pytest.raises(DemoError, match=r"a\.beats"):
        read_piece(path, tmp_path)


def test_keys_and_tables_beside_it(tmp_path):
    path = song(tmp_path / "deep" / "a.mid")
    (tmp_path / "deep" / "key_audio.txt").write_text("0.0 9.0 Gb:maj\n9.0 20.0 nonsense\n9.0 20.0 A:min\n")
    (tmp_path / "info.csv").write_text("midi_filename,style,split\ndeep/a.mid,rock/ballad,test\n")
    piece = read_piece(path, tmp_path)
    assert [key.name for key in piece.keys] == ["F# major", "A minor"]
    assert piece.key_between(0, 10) == "F# major"
    assert piece.key_between(0, 18) == ""
    assert (piece.style, piece.split) == ("rock/ballad", "test")


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "secret.beats").write_text("3.0 1\n4.0 2\n")
    path = song(tmp_path / "midi" / "a.mid")
    (tmp_path / "midi" / "a.beats").symlink_to(tmp_path / "secret.beats")
    assert read_piece(path, tmp_path / "midi").grid.times[0] == 0.0


def test_positions_count_up_to_the_first_downbeat_and_on_from_each():
    marks = [False, True, False, False, True, False, False, True]
    assert counted(marks).tolist() == [3, 1, 2, 3, 1, 2, 3, 1]
    assert counted([False] * 3).tolist() == [0, 0, 0]


def test_a_damaged_tempo_map_ends_in_a_reason(tmp_path):
    path = song(tmp_path / "a.mid", [(0, 4, 64)], quarters=8000, tempos=[(0, 400.0)])
    with pytest.raises(DemoError, match="more than 100000 beats"):
        read_piece(path, tmp_path)


def test_a_pedal_that_is_never_let_go_does_not_hold_for_ever(tmp_path):
    path = song(tmp_path / "a.mid", quarters=100)
    score = symusic.Score(path)
    for track in score.tracks:
        track.controls.append(symusic.ControlChange(0, 64, 127))
        track.controls.append(symusic.ControlChange(100 * TPQ, 64, 0))
    score.dump_midi(path)
    notes = [note for part in read_piece(path, tmp_path).parts for note in part.notes]
    assert max(note.duration for note in notes) <= 10
    by_pitch: dict[int, float] = {}
    for note in sorted(notes):
        assert by_pitch.get(note.pitch, 0.0) <= note.start + 1e-6
        by_pitch[note.pitch] = note.start + note.duration


@pytest.mark.parametrize("content", [b"\0\0\0", b"midi_filename,style\n\xff\xfe,x\n", b"a.mid\n" * 900_000])
def test_a_table_that_is_none_is_passed_over(tmp_path, content):
    path = song(tmp_path / "a.mid")
    (tmp_path / "info.csv").write_bytes(content)
    assert read_piece(path, tmp_path).style == ""
