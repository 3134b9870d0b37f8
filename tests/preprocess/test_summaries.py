"""Statistics and answers of whole tracks: equal to librosa's, known keys and tempi, and the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datasets.store import Store
from experiments.tasks import Key, Tempo, build
from preprocess import AudioError, build_store
from preprocess.__main__ import main
from preprocess.summaries import (
    FASTEST,
    KEYS,
    KRUMHANSL,
    SAMPLE_RATE,
    SLOWEST,
    SUMMARIES,
    TEMPERLEY,
    header,
    match_keys,
    moments,
    summarise,
    summary_clips,
)

Write = Callable[..., Path]


def tones(notes: list[int], seconds: float = 4.0) -> np.ndarray:
    """MIDI notes with four harmonics each, sounding together."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = [
        np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * k * time) / k**2 for note in notes for k in range(1, 5)
    ]
    return (0.05 * np.sum(partials, axis=0)).astype(np.float32)


def clicks(bpm: float, seconds: float = 20.0) -> np.ndarray:
    times = np.arange(0, seconds, 60 / bpm)
    return librosa.clicks(times=times, sr=SAMPLE_RATE, length=round(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return (0.3 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)).astype(np.float32) + tones([60, 64], 3)


def test_mfcc_statistics_are_librosas_with_differences(noise: np.ndarray):
    frames = librosa.feature.mfcc(y=noise / np.abs(noise).max(), sr=22050, hop_length=512)
    expected = []
    for order in range(3):
        moved = np.diff(frames, n=order, axis=1)
        expected += [np.mean(moved, axis=1), np.std(moved, axis=1)]
    found = summarise(noise, "mfcc")
    assert found.shape == (1, 1, 120)
    np.testing.assert_allclose(found[0, 0], np.concatenate(expected), rtol=1e-6)


def test_chroma_statistics_are_librosas_with_differences(noise: np.ndarray):
    frames = librosa.feature.chroma_cqt(y=noise / np.abs(noise).max(), sr=22050, hop_length=512)
    found = summarise(noise, "chroma")[0, 0]
    assert found.shape == (72,)
    np.testing.assert_allclose(found[:12], frames.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[12:24], frames.std(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[36:48], np.diff(frames, axis=1).std(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[60:], np.diff(frames, n=2, axis=1).std(axis=1), rtol=1e-6)


@given(arrays.arrays(np.float64, (3, 7), elements=st.floats(-100, 100)), st.floats(-10, 10))
def test_moments_of_differences_do_not_see_a_shift(frames: np.ndarray, shift: float):
    one, other = moments(frames), moments(frames + shift)
    np.testing.assert_allclose(one[:3] + shift, other[:3], atol=1e-9)
    np.testing.assert_allclose(one[3:], other[3:], atol=1e-9)


@pytest.mark.parametrize("name", ["chroma", "mfcc", "key_krumhansl"])
def test_level_does_not_matter(name: str, noise: np.ndarray):
    np.testing.assert_allclose(summarise(noise, name), summarise(noise / 64, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bpm", [75, 100, 120, 150])
def test_tempo_of_clicks(bpm: int):
    answer = summarise(clicks(bpm), "librosa_tempo")[0]
    value = float(summarise(clicks(bpm), "librosa_tempo_regression")[0, 0])
    assert value == pytest.approx(float(librosa.feature.tempo(y=clicks(bpm), sr=SAMPLE_RATE)[0]), rel=1e-6), (
        "librosa's own answer"
    )
    assert value == pytest.approx(bpm, rel=0.04)
    assert answer.sum() == 1
    assert Tempo().estimates(answer[None])[0] == round(value)


def test_answers_fit_their_tasks():
    assert Key.classes == KEYS
    assert [int(Tempo.classes[at].split()[0]) for at in (0, -1)] == [SLOWEST, FASTEST]
    options = {"tempo_regression": {"mean": [7.0], "scale": [1.0]}}
    for name, summary in SUMMARIES.items():
        if summary.kind == "predictions":
            task = header(name).producer["task"]
            assert header(name).item_shape == (build(task, **options.get(task, {})).n_outputs,), name
    assert len({header(name).fingerprint for name in SUMMARIES}) == len(SUMMARIES)


@pytest.mark.parametrize("profiles", [KRUMHANSL, TEMPERLEY])
def test_every_profile_is_its_own_key(profiles: tuple):
    for number in range(24):
        chroma = np.roll(profiles[number // 12], number % 12)
        assert match_keys(chroma, profiles).argmax() == number


@given(arrays.arrays(np.float64, 12, elements=st.floats(0, 1)), st.integers(0, 11))
def test_transposed_music_has_the_transposed_key(chroma: np.ndarray, semitones: int):
    one, other = match_keys(chroma, KRUMHANSL), match_keys(np.roll(chroma, semitones), KRUMHANSL)
    np.testing.assert_allclose(np.roll(one.reshape(2, 12), semitones, axis=1).ravel(), other, atol=1e-9)


def test_a_flat_chroma_says_nothing():
    np.testing.assert_allclose(match_keys(np.full(12, 0.3), TEMPERLEY), 1 / 24)


@pytest.mark.parametrize("name", ["key_krumhansl", "key_temperley"])
@pytest.mark.parametrize(("tonic", "key"), [(60, "C major"), (62, "D major"), (67, "G major")])
def test_cadence_in_major(name: str, tonic: int, key: str):
    chords = [(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)]
    music = np.concatenate([tones([tonic + note for note in chord], 1.5) for chord in chords])
    assert KEYS[summarise(music, name)[0].argmax()] == key


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_command_stores_one_row_a_track_and_goes_on(name: str, write: Write, tmp_path: Path, capsys):
    write("in/a.wav", 2.0)
    write("in/b/c.flac", 2.0, 44100, 2)
    (tmp_path / "in" / "bad.mp3").write_text("no audio")
    soundfile.write(tmp_path / "in" / "silent.wav", np.zeros(40000), 16000)
    line = [str(tmp_path / "in"), str(tmp_path / "out"), "--frontend", name, "--quiet", "--jobs", "1"]
    assert main(line) == 0
    store = Store(tmp_path / "out", kind=SUMMARIES[name].kind)
    assert store.ids == ["a.wav", "b/c.flac"]
    assert store.read("a.wav").shape == (1, *SUMMARIES[name].item_shape)
    assert store.row("b/c.flac")["duration"] == pytest.approx(2.0)
    said = capsys.readouterr().out
    assert "2 tracks written" in said
    assert "2 skipped" in said
    assert ("embeddings.store=" if SUMMARIES[name].kind == "embeddings" else f"embeddings.predictions.{name}=") in said
    assert main(line) == 0
    assert "0 tracks written" in capsys.readouterr().out


def test_clips_are_tracks(write: Write, tmp_path: Path):
    write("in/song.wav", 6.95)
    build_store(tmp_path / "in", tmp_path / "out", "mfcc", jobs=1, progress=False, clip_seconds=3.5)
    store = Store(tmp_path / "out")
    assert store.ids == ["song.wav-0", "song.wav-1"]
    assert not np.array_equal(store.read("song.wav-0"), store.read("song.wav-1"))


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_a_song_with_a_silent_clip_is_kept(name: str, tmp_path: Path):
    tone = 0.5 * np.sin(np.arange(2 * 22_050) / 10)
    soundfile.write(tmp_path / "song.wav", np.concatenate([tone, np.zeros(2 * 22_050)]), 22_050)
    loud, silent = summary_clips(tmp_path / "song.wav", name, 2.0)
    assert np.isfinite(silent.frames).all()
    assert silent.frames.shape == loud.frames.shape


def test_too_short_audio_is_named(write: Write, tmp_path: Path):
    write("in/blip.wav", 0.2)
    with pytest.raises(AudioError, match="too short"):
        build_store(tmp_path / "in", tmp_path / "out", "chroma", jobs=1, progress=False)


def test_stores_of_two_summaries_do_not_mix(write: Write, tmp_path: Path):
    write("in/a.wav", 1.0)
    build_store(tmp_path / "in", tmp_path / "out", "mfcc", jobs=1, progress=False)
    with pytest.raises(ValueError, match="another producer"):
        build_store(tmp_path / "in", tmp_path / "out", "chroma", jobs=1, progress=False)


def test_unknown_name_lists_what_there_is(tmp_path: Path, capsys):
    assert main([str(tmp_path), str(tmp_path / "out"), "--frontend", "chromas"]) == 1
    assert "mfcc" in capsys.readouterr().err


def test_renewed_where_files_were_replaced_or_taken_away(write: Write, tmp_path: Path, capsys):
    write("in/a.wav", 1.0)
    write("in/b.wav", 1.0)
    line = [str(tmp_path / "in"), str(tmp_path / "out"), "--frontend", "mfcc", "--quiet", "--jobs", "1", "--renew"]
    for change, written in (
        (lambda: None, 2),
        (lambda: None, 0),
        (lambda: write("in/a.wav", 2.0), 2),
        (lambda: (tmp_path / "in" / "b.wav").unlink(), 1),
    ):
        change()
        assert main(line) == 0
        assert f"{written} tracks written" in capsys.readouterr().out
        (tmp_path / "out" / "tracks.csv").write_text("path,genre\na.wav,kora\n")
    assert Store(tmp_path / "out").ids == ["a.wav"]
    assert (tmp_path / "out" / "tracks.csv").is_file()


def test_a_store_of_something_else_is_not_renewed(write: Write, tmp_path: Path, capsys):
    write("in/a.wav", 1.0)
    line = [str(tmp_path / "in"), str(tmp_path / "out"), "--quiet", "--jobs", "1"]
    assert main([*line, "--frontend", "mfcc"]) == 0
    (tmp_path / "in" / "a.wav").rename(tmp_path / "in" / "b.wav")
    for frontend, said in (("musicnn", "holds embeddings, mel is needed"), ("musicn", "known front ends")):
        assert main([*line, "--frontend", frontend, "--renew"]) == 1
        assert said in capsys.readouterr().err
    assert Store(tmp_path / "out").ids == ["a.wav"]
