"""One recording in several encodings is found; another take, and other music, is not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from datasets.near_duplicates import BANDS, ROWS, fingerprint, merged, near_duplicates
from models.frontends import MusiCNNMel

DATA = Path(__file__).parents[1] / "data"
CLIPS = ["piano_prelude.ogg", "super_polka.ogg", "synth_loop.ogg", "solo_voice.ogg", "solo_trumpet.ogg", "speech.ogg"]
RATE = 62.5
ENCODINGS = {
    "mp3 of low quality": ("MP3", "MPEG_LAYER_III", 44_100, 0.95),
    "vorbis of low quality": ("OGG", "VORBIS", 44_100, 0.95),
    "opus": ("OGG", "OPUS", 48_000, 0.9),
    "wav at 16 kHz": ("WAV", "PCM_16", 16_000, None),
}


class Features:
    """Log-mels in memory."""

    def __init__(self, mels: dict[str, np.ndarray]) -> None:
        self.mels = mels

    def length(self, id: str) -> int:
        return len(self.mels[id])

    def read(self, id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self.mels[id][start:stop]

    def pairs(self) -> list[tuple[str, str]]:
        ids = list(self.mels)
        return near_duplicates(self, ids, [len(self.mels[one]) / RATE for one in ids], RATE)


def mel(samples: np.ndarray, rate: int) -> np.ndarray:
    at_16k = soxr.resample(samples, rate, 16_000) if rate != 16_000 else samples
    return MusiCNNMel()(torch.from_numpy(at_16k.astype(np.float32))).numpy().astype(np.float16)


def encoded(samples: np.ndarray, rate: int, encoding: str, gain: float = 0.5) -> np.ndarray:
    """The log-mel of what comes back from a codec, at another level."""
    container, codec, new_rate, quality = ENCODINGS[encoding]
    samples = gain * (soxr.resample(samples, rate, new_rate) if rate != new_rate else samples)
    given = {} if quality is None else {"compression_level": quality}
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", new_rate, 1, codec, format=container, **given) as file:
        for start in range(0, len(samples), 8192):
            file.write(samples[start : start + 8192])
    buffer.seek(0)
    return mel(*soundfile.read(buffer, dtype="float32"))


@pytest.fixture(scope="module")
def music() -> dict[str, tuple[np.ndarray, int]]:
    read = {name: soundfile.read(DATA / name, dtype="float32") for name in CLIPS}
    return {
        name: (samples.mean(axis=1) if samples.ndim > 1 else samples, rate) for name, (samples, rate) in read.items()
    }


@pytest.fixture(scope="module")
def originals(music) -> dict[str, np.ndarray]:
    return {name: mel(*clip) for name, clip in music.items()}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_clip_is_found_in_another_encoding_and_with_nothing_else(music, originals, encoding: str):
    copies = {f"{name} again": encoded(*clip, encoding) for name, clip in music.items()}
    assert Features({**originals, **copies}).pairs() == [(name, f"{name} again") for name in originals]


def test_the_delay_of_an_encoder_does_not_hide_a_recording(music, originals):
    samples, rate = music["super_polka.ogg"]
    late = mel(np.concatenate([np.zeros(int(0.07 * rate), np.float32), samples]), rate)
    assert Features({"one": originals["super_polka.ogg"], "late": late}).pairs() == [("one", "late")]


@pytest.mark.parametrize(("jitter", "tempo"), [(0.015, 0.0), (0.03, 0.0), (0.0, 0.01)])
def test_another_take_is_not_the_same_recording(jitter: float, tempo: float):
    """The same notes three times, with other phases and loudness, and in other time or at another tempo."""
    takes = {}
    for number in range(3):
        rng = np.random.default_rng(number)
        samples = np.zeros(16_000 * 22, np.float32)
        for beat, pitch in enumerate(np.random.default_rng(99).integers(48, 84, 80)):
            start = int(16_000 * (0.25 * beat * (1 + tempo * number) + abs(rng.normal(0, jitter))))
            time = np.arange(8_000) / 16_000
            hertz, phases = 440 * 2 ** ((pitch - 69) / 12), rng.uniform(0, 6, 6)
            tone = sum(np.sin(2 * np.pi * hertz * k * time + phases[k]) / k for k in range(1, 6))
            samples[start : start + 8_000] += 0.1 * rng.uniform(0.6, 1) * tone * np.exp(-5 * time)
        takes[f"take {number}"] = mel(samples, 16_000)
    assert Features(takes).pairs() == []
    assert Features({**takes, "take 1 again": takes["take 1"]}).pairs() == [("take 1", "take 1 again")]


def test_silence_and_static_sounds_are_nobodys_copy():
    frames = np.zeros((1875, 96), np.float16)
    assert Features({"silent": frames, "silent too": frames, "static": frames + 2}).pairs() == []


def test_recordings_of_other_lengths_are_not_compared(originals):
    whole = originals["super_polka.ogg"]
    assert Features({"whole": whole, "part": whole[: len(whole) - 100]}).pairs() == []


def test_fingerprints_do_not_see_the_level(originals):
    for frames in originals.values():
        signs, louder = fingerprint(frames, RATE), fingerprint(1.7 * frames.astype(np.float32), RATE)
        assert signs.shape[0] <= ROWS
        assert signs.shape[1] == BANDS - 1
        assert np.mean(signs * louder < 0) == 0


@pytest.mark.parametrize("frames", [1, 2, 60, 70, 100])
def test_tracks_too_short_to_tell_are_nobodys_copy(originals, frames: int):
    short = originals["super_polka.ogg"][:frames]
    assert Features({"one": short, "two": short}).pairs() == []


def test_blocks_do_not_change_what_is_found(originals, monkeypatch):
    features = Features({**originals, **{f"{name} again": frames for name, frames in originals.items()}})
    expected = features.pairs()
    monkeypatch.setattr("datasets.near_duplicates.BLOCK", 3)
    assert features.pairs() == expected
    assert len(expected) == len(originals)


def test_groups_that_share_a_track_become_one():
    assert merged([("a", "b"), ("c", "d"), ("b", "e"), ("d", "c")]) == [("a", "b", "e"), ("c", "d")]
