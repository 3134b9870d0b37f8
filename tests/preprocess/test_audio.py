"""Stores of audio: what the samples are, and that all the rest works as it does for features."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from datasets.audio_checksums import audio_checksum
from datasets.store import Store, StoreError, merge
from preprocess import AudioError, build_store, load
from preprocess.__main__ import main
from preprocess.audio import audio_name, header, parse_audio_name, to_int16
from preprocess.renewal import drop_outdated

Write = Callable[..., Path]


@pytest.fixture
def corpus(tmp_path: Path, clips: list[Path]) -> Path:
    """Two real recordings, of 44.1 kHz and stereo."""
    folder = tmp_path / "corpus"
    (folder / "a").mkdir(parents=True)
    shutil.copy(clips[2], folder / "a" / "first.ogg")
    shutil.copy(clips[0], folder / "kick.mp3")
    return folder


def quickly(audio: Path, store: Path, **settings):
    return build_store(audio, store, **{"frontend": "audio_16000", "jobs": 1, "progress": False, **settings})


def test_samples_are_those_of_the_decoder_within_half_a_step(corpus: Path, tmp_path: Path):
    report = quickly(corpus, tmp_path / "store")
    store = Store(tmp_path / "store", kind="audio")
    assert (store.header.item_shape, store.header.dtype, store.header.units) == ((), "int16", "int16 full scale")
    assert store.header.producer["sample_rate"] == 16_000
    assert report.written == 2
    for id in store.ids:
        samples, stored = load(corpus / id, 16_000), store.read(id)
        assert len(stored) == len(samples)
        assert np.abs(stored - samples.astype(np.float64) * 32768).max() <= 0.5
        row = store.row(id)
        assert row["duration"] == pytest.approx(len(samples) / 16_000)
        assert row["audio_checksum"] == audio_checksum(corpus / id)


@given(st.lists(st.floats(-1.5, 1.5, width=32), min_size=1, max_size=20))
def test_rounding_is_to_the_nearest_and_clips(samples: list[float]):
    expected = [min(max(round(sample * 32768), -32768), 32767) for sample in samples]
    assert to_int16(np.array(samples, np.float32)).tolist() == expected


def test_halves_are_rounded_to_even():
    assert to_int16(np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32) / 32768).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.usefixtures("no_ffmpeg")
def test_bad_files_notes_and_resuming_are_as_for_features(write: Write, tmp_path: Path):
    write("in/good.wav", rate=44_100, channels=2)
    write("in/short.wav", seconds=0.1)
    write("in/silent.wav", scale=0)
    truncated = write("in/truncated.mp3", seconds=20, rate=44_100)
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    report = quickly(tmp_path / "in", tmp_path / "store")
    assert {id: reason.partition(":")[0] for id, reason in report.skipped} == {
        "short.wav": "too short",
        "silent.wav": "silent",
    }
    assert [id for id, _ in report.noted] == ["truncated.mp3"]
    assert Store(tmp_path / "store").ids == ["good.wav", "truncated.mp3"]
    again = quickly(tmp_path / "in", tmp_path / "store")
    assert (again.written, again.already, again.decoded) == (0, 2, 0)
    write("in/good.wav", seconds=2)
    assert quickly(tmp_path / "in", tmp_path / "store").changed == ["good.wav"]
    assert drop_outdated(tmp_path / "in", tmp_path / "store", "audio_16000")
    assert quickly(tmp_path / "in", tmp_path / "store").written == 2


def test_workers_write_the_same_shards(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("preprocess.groups.WORKER_BYTES", 1)
    quickly(corpus, tmp_path / "one")
    assert quickly(corpus, tmp_path / "two", jobs=2).written == 2
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    for id in one.ids:
        np.testing.assert_array_equal(one.read(id), two.read(id))


def test_middles_and_clips(tmp_path: Path):
    ramp = np.linspace(0.1, 0.9, 5 * 16_000, dtype=np.float32)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/ramp.wav", ramp, 16_000, subtype="FLOAT")
    quickly(tmp_path / "in", tmp_path / "middle", max_seconds=2)
    np.testing.assert_array_equal(Store(tmp_path / "middle").read("ramp.wav"), to_int16(ramp[24_000:56_000]))
    quickly(tmp_path / "in", tmp_path / "clips", clip_seconds=2)
    clips = Store(tmp_path / "clips")
    assert clips.ids == ["ramp.wav-0", "ramp.wav-1"]
    np.testing.assert_array_equal(clips.read("ramp.wav-1"), to_int16(ramp[32_000:64_000]))


def test_opposite_channels_give_the_first(tmp_path: Path):
    (tmp_path / "in").mkdir()
    left = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    soundfile.write(tmp_path / "in/wide.wav", np.stack([left, -left], 1), 16_000, subtype="FLOAT")
    assert [id for id, _ in quickly(tmp_path / "in", tmp_path / "store").noted] == ["wide.wav"]
    np.testing.assert_array_equal(Store(tmp_path / "store").read("wide.wav"), to_int16(left))


def test_rates_do_not_mix_and_features_are_something_else(corpus: Path, tmp_path: Path):
    quickly(corpus, tmp_path / "store", ids=["kick.mp3"])
    with pytest.raises(StoreError, match="sample_rate: 16000 in the store, 22050 expected"):
        quickly(corpus, tmp_path / "store", frontend="audio_22050")
    with pytest.raises(StoreError, match="holds audio, mel is needed"):
        quickly(corpus, tmp_path / "store", frontend="musicnn")
    assert header(16_000).fingerprint != header(22_050).fingerprint


def test_unrounded_samples_are_those_of_the_decoder(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [str(corpus), str(tmp_path / "store"), "--audio", "16000", "--jobs", "1", "--quiet"]
    assert main([*command, "--exact"]) == 0
    store = Store(tmp_path / "store", kind="audio")
    assert (store.header.dtype, store.header.units) == ("float32", "full scale")
    for id in store.ids:
        np.testing.assert_array_equal(store.read(id), load(corpus / id, 16_000))
    assert main(command) == 1
    assert "rounding" in capsys.readouterr().err
    quickly(corpus, tmp_path / "clips", frontend="audio_16000_float32", ids=["kick.mp3"], clip_seconds=0.5)
    clip = Store(tmp_path / "clips").read("kick.mp3-0")
    np.testing.assert_array_equal(clip, load(corpus / "kick.mp3", 16_000)[:8000])
    quickly(corpus, tmp_path / "rounded", ids=["kick.mp3"])
    with pytest.raises(StoreError, match="rounding"):
        merge([tmp_path / "store", tmp_path / "rounded"], tmp_path / "merged")


def test_exact_is_about_samples(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(corpus), str(tmp_path / "store"), "--exact"]) == 1
    assert "give it with --audio RATE" in capsys.readouterr().err


def test_names_of_rates():
    assert parse_audio_name(audio_name(44_100)) == (44_100, "int16")
    assert parse_audio_name("audio_44100_float32") == (44_100, "float32")
    assert parse_audio_name(audio_name(44_100, "float32")) == (44_100, "float32")
    assert parse_audio_name("musicnn") is None
    for rate in (100, 400_000):
        with pytest.raises(ValueError, match="give a sample rate from 4000 to 192000 Hz"):
            audio_name(rate)
    with pytest.raises(ValueError, match="audio at 1000 Hz"):
        parse_audio_name("audio_1000")


def test_the_command(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(corpus), str(tmp_path / "store"), "--audio", "22050", "--jobs", "1", "--quiet"]) == 0
    assert "next: python ex_transfer.py" in capsys.readouterr().out
    assert Store(tmp_path / "store").header.producer["sample_rate"] == 22_050
    assert main([str(corpus), str(tmp_path / "other"), "--audio", "16", "--quiet"]) == 1
    assert "error: audio at 16 Hz: give a sample rate from 4000" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(corpus), str(tmp_path / "other"), "--audio", "16000", "--frontend", "musicnn_torch"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_no_usable_file_is_an_error(write: Write, tmp_path: Path):
    write("in/silent.wav", scale=0)
    with pytest.raises(AudioError, match="none of 1 files could be used"):
        quickly(tmp_path / "in", tmp_path / "store")
