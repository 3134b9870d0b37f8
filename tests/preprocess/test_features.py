"""Files to features: by blocks as by the whole, and which audio is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frontends import FrontEnd, build, names
from preprocess import features, pieces
from preprocess.decode import load
from preprocess.features import track_features, transform
from preprocess.sources import AudioError
from preprocess.tracks import middle


@pytest.mark.parametrize("name", names())
def test_real_clips_equal_the_front_end_on_the_whole(clips: list[Path], name: str):
    frontend = build(name)
    for path in clips:
        samples = load(path, frontend.sample_rate)
        track = track_features(path, frontend)
        assert track.frames.dtype == np.float16
        assert track.seconds == len(samples) / frontend.sample_rate
        assert track.notes == ()
        expected = frontend(torch.from_numpy(samples)).detach().numpy()
        np.testing.assert_allclose(track.frames, expected, rtol=6e-4, atol=1e-4)


@pytest.mark.parametrize("name", names())
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_blocks_of_any_size_equal_the_whole(name: str, data: st.DataObject):
    sizes = data.draw(st.lists(st.integers(0, 5000), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 1024))
    chunk = data.draw(st.integers(1, 12))
    audio = np.random.default_rng(sum(sizes)).standard_normal(sum(sizes)).astype(np.float32)
    frontend = build(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        parts = list(transform(np.split(audio, np.cumsum(sizes)[:-1]), frontend))
    torch.testing.assert_close(torch.cat(parts), frontend(torch.from_numpy(audio)), rtol=0, atol=2e-5)


class Spectrum(FrontEnd):
    """Power spectra of frames of any length and hop, edges reflected or silent: what a front end looks like."""

    sample_rate = 16_000

    def __init__(self, size: int, hop: int, mode: str) -> None:
        super().__init__()
        self.size, self.hop, self.mode, self.context = size, hop, mode, size // 2
        self.min_samples = size // 2 + 1

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(audio[None], (self.context, self.context), mode=self.mode)[0]
        return torch.fft.rfft(padded.unfold(0, self.size, self.hop)).abs()[:, :5]


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize(("size", "hop"), [(512, 256), (2048, 512), (1024, 128), (200, 256), (1000, 300)])
@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_frames_may_reach_over_any_number_of_hops(size: int, hop: int, mode: str, data: st.DataObject):
    sizes = data.draw(st.lists(st.integers(0, 9000), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > size))
    audio = np.random.default_rng(sum(sizes)).standard_normal(sum(sizes)).astype(np.float32)
    frontend = Spectrum(size, hop, mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", data.draw(st.integers(1, 12)))
        parts = list(transform(np.split(audio, np.cumsum(sizes)[:-1]), frontend))
    torch.testing.assert_close(torch.cat(parts), frontend(torch.from_numpy(audio)), rtol=0, atol=2e-4)


def test_what_a_front_end_says_of_itself_goes_into_the_header():
    for name, fill in (("musicnn", 0.0), ("mel_db", -100.0)):
        frontend = build(name)
        header = features.header(frontend)
        assert (header.fill, header.item_shape, header.units) == (fill, (96,), frontend.units)
        assert header.fingerprint == frontend.fingerprint


@pytest.mark.parametrize(
    ("scale", "seconds", "reason"),
    [
        (0.0, 2.0, "silent: peak 0.0e"),
        (1e-6, 2.0, "silent: peak"),
        (0.1, 0.01, r"too short: 0\.010 s, at least 0\.256 s are needed"),
        (1e30, 2.0, "NaN, Inf or far over full scale"),
        (32768.0, 2.0, "far over full scale: mean energy 1.*e.09"),
    ],
)
def test_refuses_audio_without_use(write: Callable[..., Path], scale: float, seconds: float, reason: str):
    with pytest.raises(AudioError, match=reason):
        track_features(write("odd.wav", seconds=seconds, scale=scale), build("musicnn"))


def test_quiet_music_is_not_silence(write: Callable[..., Path]):
    assert track_features(write("quiet.wav", scale=1e-3), build("musicnn")).frames.max() > 0


def test_a_track_of_one_patch_is_long_enough(write: Callable[..., Path]):
    assert len(track_features(write("short.wav", seconds=0.256), build("musicnn")).frames) == 17


def test_the_middle_of_a_longer_track(clips: list[Path]):
    frontend = build("musicnn")
    full = track_features(clips[0], frontend).frames
    part = track_features(clips[0], frontend, max_seconds=4.0)
    start = (len(full) - 250) // 2
    np.testing.assert_array_equal(part.frames, full[start : start + 250])
    assert part.seconds > 4
    np.testing.assert_array_equal(middle(full, 1e6, 62.5), full)


def test_threads_are_given_back(kick: Path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        track_features(kick, build("musicnn"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
