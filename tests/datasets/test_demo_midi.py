"""A folder of a user's own MIDI files."""

from __future__ import annotations

import csv
import os
import signal

import numpy as np
import pytest
import soundfile
import symusic
from joblib import delayed

from datasets.demo import DemoError, render_folder
from datasets.demo.__main__ import main
from datasets.demo.output import watched


def midi(path, notes, controls=(), drum=False, bends=()):
    """Write a MIDI file at 120 BPM of (start, duration, pitch, velocity) in beats."""
    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, 120.0))
    track = symusic.Track("", 0, drum)
    for start, duration, pitch, velocity in notes:
        track.notes.append(symusic.Note(round(480 * start), round(480 * duration), pitch, velocity))
    for beat, number, value in controls:
        track.controls.append(symusic.ControlChange(round(480 * beat), number, value))
    for beat, value in bends:
        track.pitch_bends.append(symusic.PitchBend(round(480 * beat), value))
    score.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(path)


SCALE = [(beat, 0.9, 60 + beat, 100) for beat in range(4)]


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "midi"
    midi(source / "scale.mid", SCALE)
    midi(source / "deep" / "drums.MIDI", [(beat, 0.1, 36, 110) for beat in range(4)], drum=True)
    return source


def test_files_are_rendered_where_their_notes_are(folder, tmp_path):
    report = render_folder(folder, tmp_path / "audio", progress=False)
    assert [path.relative_to(tmp_path / "audio").as_posix() for path in report.written] == [
        "deep/drums.flac",
        "scale.flac",
    ]
    assert report.skipped == []
    samples, rate = soundfile.read(report.written[0])
    assert np.abs(samples).max() == pytest.approx(0.97, abs=1e-3)
    for beat in range(1, 4):
        at = round(0.5 * beat * rate)
        assert np.abs(samples[at : at + rate // 66]).max() > 3 * np.abs(samples[at - rate // 100 : at]).max()


def test_system_folders_are_passed_over(folder, tmp_path):
    midi(folder / "#recycle" / "deleted.mid", SCALE)
    report = render_folder(folder, tmp_path / "audio", progress=False)
    assert [path.name for path in report.written] == ["drums.flac", "scale.flac"]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_told_of():
    with pytest.raises(DemoError, match=r"Rendering: a worker was killed \(SIGKILL\), .*: run again with fewer jobs"):
        list(watched((delayed(die)() for _ in range(2)), 2, 2, 1, False, "Rendering"))


def test_bad_files_are_skipped_counted_and_listed(folder, tmp_path, capsys):
    (folder / "text.mid").write_text("these are no notes")
    (folder / "empty.mid").write_bytes(b"")
    (folder / "cut.mid").write_bytes((folder / "scale.mid").read_bytes()[:30])
    midi(folder / "silent.mid", [])
    midi(folder / "endless.mid", [(0, 1, 60, 90), (5000, 1, 60, 90)])
    (folder / "notes.txt").write_text("not a MIDI file, and not called one")
    assert main(["render", str(folder), str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "2 rendered, 5 skipped" in said.out
    with (tmp_path / "out" / "skipped.csv").open(newline="") as stream:
        rows = {row["path"]: row["reason"] for row in csv.DictReader(stream)}
    assert set(rows) == {"cut.mid", "empty.mid", "endless.mid", "silent.mid", "text.mid"}
    assert "no notes" in rows["silent.mid"]
    for name in ("cut.mid", "empty.mid", "text.mid"):
        assert rows[name] == "is no MIDI file, or is damaged or cut short"
    assert "lasts 2500 s" in rows["endless.mid"]
    assert all(name in said.err for name in rows)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.flac")) == ["drums.flac", "scale.flac"]


def test_the_pedal_holds_and_the_volume_controller_is_followed(tmp_path):
    source = tmp_path / "midi"
    midi(source / "dry.mid", [(0, 0.5, 60, 100), (4, 0.5, 60, 100)])
    midi(source / "held.mid", [(0, 0.5, 60, 100), (4, 0.5, 60, 100)], controls=[(0, 64, 127), (3, 64, 0)])
    midi(source / "swell.mid", [(0, 0.5, 60, 100), (4, 0.5, 60, 100)], controls=[(0, 7, 127), (3, 7, 64)])
    render_folder(source, tmp_path / "out", progress=False)
    sounds = {path.stem: soundfile.read(path)[0] for path in (tmp_path / "out").glob("*.flac")}
    rate = soundfile.info(tmp_path / "out" / "dry.flac").samplerate
    still = slice(round(1.26 * rate), round(1.5 * rate))  # the note ends at 0.25 s and has died away a second later
    assert not sounds["dry"][still].any()
    assert np.abs(sounds["held"][still]).max() > 0.01
    first, second = np.abs(sounds["swell"][:rate]).max(), np.abs(sounds["swell"][2 * rate :]).max()
    assert first / second == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("reach", "semitones"), [(None, 2), (12, 12)])
def test_the_pitch_wheel_is_heard_as_far_as_it_reaches(tmp_path, reach, semitones):
    controls = [] if reach is None else [(0, 101, 0), (0, 100, 0), (0, 6, reach), (0, 101, 127), (0, 100, 127)]
    midi(tmp_path / "bent.mid", [(0, 2, 60, 100)], controls, bends=[(0, 8191)])
    midi(tmp_path / "straight.mid", [(0, 2, 60 + semitones, 100)])
    render_folder(tmp_path, tmp_path / "out", progress=False)
    peaks = []
    for name in ("bent", "straight"):
        samples, rate = soundfile.read(tmp_path / "out" / f"{name}.flac")
        spectrum = np.abs(np.fft.rfft(samples[: rate // 2] * np.hanning(rate // 2), 8 * rate))
        low = 8 * 220
        peaks.append((low + np.argmax(spectrum[low : 8 * 700])) / 8)
    assert 12 * abs(np.log2(peaks[0] / peaks[1])) < 0.25


def test_equal_names_do_not_overwrite_each_other(tmp_path):
    for name in ("song.mid", "song.midi"):
        midi(tmp_path / "midi" / name, SCALE)
    report = render_folder(tmp_path / "midi", tmp_path / "out", progress=False)
    assert [path.name for path in report.written] == ["song.mid.flac", "song.midi.flac"]


def test_a_folder_without_midi_is_named(tmp_path, capsys):
    with pytest.raises(DemoError, match="no such folder"):
        render_folder(tmp_path / "none", tmp_path / "out")
    with pytest.raises(DemoError, match=r"no \.mid or \.midi file"):
        render_folder(tmp_path, tmp_path / "out")
    assert main(["render", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "error: " in capsys.readouterr().err
