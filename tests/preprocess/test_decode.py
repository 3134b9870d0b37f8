"""Files to mono samples: real clips, all rates and channels, damage."""

from __future__ import annotations

import copy
import logging
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import soxr

from preprocess.decode import at_most, load, stream
from preprocess.opening import open_sources
from preprocess.sources import NO_FFMPEG, AudioError, UnreadableAudio

Write = Callable[..., Path]


def whole(path: Path, rate: int) -> np.ndarray:
    """The plain way: everything at once."""
    samples, native = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return mono if native == rate else soxr.resample(mono, native, rate, quality="HQ")


def tone(hertz: float, rate: int, seconds: float = 2.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_blocks_equal_the_whole_on_real_clips(clips: list[Path]):
    for path in clips:
        np.testing.assert_allclose(load(path, 16000), whole(path, 16000), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (22050, 1), (44100, 2), (48000, 6), (96000, 2)])
def test_any_rate_and_channels(write: Write, rate: int, channels: int):
    path = write("noise.wav", seconds=7.3, rate=rate, channels=channels)
    samples = load(path, 16000)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 7.3 * 16000) <= 1
    np.testing.assert_allclose(samples, whole(path, 16000), rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".opus"])
def test_every_format_keeps_the_tone(tmp_path: Path, suffix: str):
    path = tmp_path / f"tone{suffix}"
    soundfile.write(
        path,
        tone(1000, 48000),
        48000,
        format="OGG" if suffix == ".opus" else None,
        subtype="OPUS" if suffix == ".opus" else None,
    )
    spectrum = np.abs(np.fft.rfft(load(path, 16000)[8000:24000]))
    assert spectrum.argmax() == 1000


@pytest.mark.parametrize("hertz", [9000, 10500, 15000, 20000])
def test_aliases_lie_below_minus_100_db(tmp_path: Path, hertz: float):
    soundfile.write(tmp_path / "high.wav", tone(hertz, 44100), 44100, subtype="FLOAT")
    inner = load(tmp_path / "high.wav", 16000)[4000:-4000]
    assert 20 * np.log10(np.abs(inner).max() / 0.5) < -100


def test_channels_are_averaged(tmp_path: Path):
    left, right = tone(500, 16000), -0.5 * tone(500, 16000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(load(tmp_path / "stereo.wav", 16000), left / 4, rtol=0, atol=1e-7)


def test_memory_is_a_few_blocks(tmp_path: Path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 44100, 2) as file:
        for _ in range(300):
            file.write(np.zeros((44100, 2), np.float32))
    tracemalloc.start()
    try:
        samples = sum(len(block) for block in stream(path, 16000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 300 * 16000
    assert peak < 8 * 2**20  # all of it would be 106 MB


def test_a_truncated_mp3_gives_what_is_left(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path, half = write("whole.mp3", seconds=20, rate=44100, channels=2), tmp_path / "half.mp3"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING, logger="preprocess.decode"):
        samples, complete = load(half, 16000), load(path, 16000)
    assert 9 < len(samples) / 16000 < 11
    np.testing.assert_allclose(samples[:-2000], complete[: len(samples) - 2000], rtol=0, atol=1e-5)
    (record,) = caplog.records
    assert (
        record.message.removeprefix(f"{tmp_path}/")
        == "half.mp3: cut short: 10.0 s of the 20.0 s that the header promises"
    )


def test_a_truncated_real_mp3_gives_what_is_left(kick: Path, tmp_path: Path):
    half = tmp_path / "half.mp3"
    half.write_bytes(kick.read_bytes()[: kick.stat().st_size // 2])
    samples, complete = load(half, 16000), load(kick, 16000)
    assert 0.4 < len(samples) / len(complete) < 0.6
    np.testing.assert_allclose(samples[:-2000], complete[: len(samples) - 2000], rtol=0, atol=1e-5)


def test_a_flac_that_breaks_off_gives_what_is_left(write: Write, tmp_path: Path):
    path = write("whole.flac", seconds=20, rate=44100)
    (tmp_path / "half.flac").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    notes: list[str] = []
    seconds = sum(len(block) for block in stream(tmp_path / "half.flac", 16000, notes)) / 16000
    assert 9 < seconds < 10
    assert len(notes) == 1
    assert notes[0].startswith("cut short or damaged: ")
    assert notes[0].endswith(f"{seconds:.1f} s of the 20.0 s that the header promises are left")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(tmp_path: Path, bad: float):
    samples = np.zeros((16000, 2), np.float32)
    samples[8000, 1] = bad
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"bad\.wav: NaN, Inf or far over full scale"):
        load(tmp_path / "bad.wav", 16000)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.mp3", b"these are words, not music\n" * 100, "not audio, or damaged"),
        ("zeros.mp3", bytes(50_000), "not audio, or damaged"),
        ("song.m4a", b"\0\0\0 ftypM4A " + bytes(100), NO_FFMPEG),
        ("noise.raw", bytes(range(256)), "not audio, or damaged"),
        ("empty.ogg", b"", "empty file"),
    ],
)
def test_names_what_is_wrong_with_a_file(tmp_path: Path, name: str, content: bytes, reason: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        load(tmp_path / name, 16000)
    assert caught.value.path == tmp_path / name


def test_a_header_without_samples(write: Write):
    with pytest.raises(AudioError, match="no samples"):
        load(write("none.wav", seconds=0), 16000)


def test_missing_files_and_folders(tmp_path: Path):
    with pytest.raises(AudioError, match="no such file"):
        load(tmp_path / "missing.wav", 16000)
    with pytest.raises(AudioError, match="not a regular file"):
        load(tmp_path, 16000)


def test_names_of_any_bytes(write: Write, tmp_path: Path):
    path = write("plain.wav").rename(tmp_path / "caf\udce9 \u266b.wav")
    assert len(load(path, 16000)) == 16000


@pytest.mark.usefixtures("ffmpeg")
def test_ffmpeg_reads_what_libsndfile_does_not(tmp_path: Path):
    (tmp_path / "a.m4a").write_bytes(b"music")
    (source,) = open_sources(tmp_path / "a.m4a")
    assert (source.sample_rate, source.channels) == (48000, 2)
    samples = load(tmp_path / "a.m4a", 48000)
    np.testing.assert_allclose(samples, np.linspace(0, 0.375, 48000), rtol=0, atol=1e-6)
    assert len(load(tmp_path / "a.m4a", 16000)) == 16000


@pytest.mark.usefixtures("ffmpeg")
def test_ffmpeg_that_fails(tmp_path: Path):
    (tmp_path / "a.m4a").write_bytes(b"words")
    with pytest.raises(AudioError, match="not audio, or damaged: ffmpeg says 'x: Invalid data"):
        load(tmp_path / "a.m4a", 16000)
    (tmp_path / "b.m4a").write_bytes(b"music that breaks off")
    notes: list[str] = []
    assert sum(len(block) for block in stream(tmp_path / "b.m4a", 16000, notes)) == 16000
    assert notes == ["cut short or damaged: ffmpeg says 'x: Error while decoding', 1.0 s are left"]


@pytest.mark.usefixtures("ffmpeg")
def test_ffmpeg_that_is_killed_is_no_damage_of_the_file(tmp_path: Path):
    (tmp_path / "killed.m4a").write_bytes(b"music that is killed")
    with pytest.raises(UnreadableAudio, match="cannot be read: ffmpeg was killed"):
        load(tmp_path / "killed.m4a", 16000)


def test_the_error_travels_between_processes():
    error = copy.deepcopy(AudioError("a.wav", "silent: peak 0"))  # by the protocol of pickling
    assert (error.path, error.reason, str(error)) == ("a.wav", "silent: peak 0", "a.wav: silent: peak 0")


def test_longer_audio_than_is_taken_is_refused_at_once_where_the_header_tells(write: Write):
    path = write("noise.wav", seconds=3.0)
    with at_most(3.0, "a.setting"):
        assert len(load(path, 16000)) == 48000
    with (
        at_most(2.9, "a.setting"),
        pytest.raises(AudioError, match=r"too long: it promises more than 2.9 s .*a.setting"),
    ):
        next(stream(path, 16000))
    assert len(load(path, 16000)) == 48000


@pytest.mark.usefixtures("ffmpeg")
def test_no_ffmpeg_is_left_of_longer_audio_than_is_taken(tmp_path: Path):
    (tmp_path / "long.m4a").write_bytes(b"music of an hour")
    before = psutil.Process().children()
    with at_most(60, "a.setting"), pytest.raises(AudioError, match="too long: it promises more than 60 s"):
        load(tmp_path / "long.m4a", 16000)
    assert psutil.Process().children() == before


def test_longer_audio_than_is_taken_is_refused_as_it_comes_where_the_header_does_not_tell(tmp_path: Path):
    soundfile.write(tmp_path / "silence.flac", np.zeros(44_100 * 600, np.int16), 44_100)
    content = bytearray((tmp_path / "silence.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # number of samples, of 36 bits: not known
    (tmp_path / "silence.flac").write_bytes(content)
    blocks = []
    with at_most(60, "a.setting"), pytest.raises(AudioError, match="too long: it has more than 60 s"):
        blocks.extend(stream(tmp_path / "silence.flac", 44_100))
    assert 59 < sum(map(len, blocks)) / 44_100 <= 60


def test_streams_behind_one_another_count_together(tmp_path: Path):
    for name in ("one", "two"):
        soundfile.write(tmp_path / f"{name}.ogg", tone(440, 44_100, 4.0), 44_100)
    both = tmp_path / "both.ogg"
    both.write_bytes((tmp_path / "one.ogg").read_bytes() + (tmp_path / "two.ogg").read_bytes())
    with at_most(9, "a.setting"):
        assert len(load(both, 44_100)) == 8 * 44_100
    with at_most(7, "a.setting"), pytest.raises(AudioError, match="too long"):
        load(both, 44_100)
