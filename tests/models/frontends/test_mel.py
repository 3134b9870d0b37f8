"""Mel filters and spectra against librosa and torchaudio, and their form for export against themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.frontends import build
from models.frontends.mel import MatrixMel, MelFrontEnd, decibels, hann, hz_to_mel, mel_filters, mel_to_hz
from tests.peers import peer

FILTERS = [
    (16_000, 512, 96, 0.0, 8000.0, "htk", "none"),
    (16_000, 512, 128, 0.0, 8000.0, "htk", "none"),
    (16_000, 512, 96, 0.0, 8000.0, "slaney", "area"),
    (32_000, 1024, 64, 50.0, 14_000.0, "slaney", "area"),
    (22_050, 2048, 128, 30.0, 11_000.0, "slaney", "none"),
    (44_100, 2048, 40, 27.5, 16_000.0, "htk", "area"),
]


def made(rate, n_fft, bands, low, high, scale, norm) -> torch.Tensor:
    return mel_filters(rate, n_fft, bands, low=low, high=high, scale=scale, norm=norm)


@pytest.mark.parametrize("filters", FILTERS)
def test_filters_are_those_of_librosa(filters):
    rate, n_fft, bands, low, high, scale, norm = filters
    theirs = peer("librosa").filters.mel(
        sr=rate, n_fft=n_fft, n_mels=bands, fmin=low, fmax=high, htk=scale == "htk",
        norm="slaney" if norm == "area" else None,
    )  # fmt: skip
    np.testing.assert_allclose(made(*filters).numpy(), theirs.T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("filters", FILTERS)
def test_filters_are_those_of_torchaudio_up_to_its_rounding(filters):
    rate, n_fft, bands, low, high, scale, norm = filters
    theirs = peer("torchaudio").functional.melscale_fbanks(
        n_fft // 2 + 1, low, high, bands, rate, norm="slaney" if norm == "area" else None, mel_scale=scale
    )
    torch.testing.assert_close(made(*filters), theirs, rtol=0, atol=1e-4)


def test_the_lowest_of_128_htk_bands_is_empty():
    """As in the published tagging networks, which have learned with it."""
    filters = made(16_000, 512, 128, 0.0, 8000.0, "htk", "none")
    assert not filters[:, 0].any()
    assert filters[:, 1:].any(0).all()


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_scales_are_those_of_librosa_and_undo_each_other(scale):
    hertz = np.array([0.0, 60.0, 999.0, 1000.0, 1001.0, 8000.0, 20_000.0])
    mels = [hz_to_mel(float(one), scale) for one in hertz]
    np.testing.assert_allclose(mels, peer("librosa").hz_to_mel(hertz, htk=scale == "htk"), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(torch.tensor(mels, dtype=torch.float64), scale), hertz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("bands", "low", "high"), [(0, 0.0, 8000.0), (96, -1.0, 8000.0), (96, 0.0, 8001.0), (96, 500.0, 500.0)]
)
def test_impossible_filters_are_refused(bands, low, high):
    with pytest.raises(ValueError, match="expected at least one band, and frequencies of 0 <= low < high <= 8000"):
        mel_filters(16_000, 512, bands, low=low, high=high, scale="htk", norm="none")


class Mel(MelFrontEnd):
    """Any of them."""

    def __init__(self, n_fft=512, hop=256, bands=96, rate=16_000, reflect=True, past_end=False) -> None:
        super().__init__(hann(n_fft), mel_filters(rate, n_fft, bands, scale="htk", norm="none"))
        self.sample_rate, self.hop, self.reflect, self.past_end = rate, hop, reflect, past_end

    def compress(self, mel):
        return decibels(mel)


@pytest.mark.parametrize("bands", [96, 128])
def test_a_spectrogram_is_that_of_torchaudio(bands):
    transforms = peer("torchaudio").transforms
    theirs = torch.nn.Sequential(
        transforms.MelSpectrogram(16_000, 512, f_min=0.0, f_max=8000.0, n_mels=bands), transforms.AmplitudeToDB()
    )
    audio = 0.1 * torch.randn(2, 20_001, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Mel(bands=bands)(audio), theirs(audio).transpose(1, 2), rtol=0, atol=2e-3)


SHAPES = [(512, 256), (1024, 256), (2048, 512), (1024, 320), (400, 160), (600, 200), (512, 512)]


@pytest.mark.parametrize(("n_fft", "hop"), SHAPES)
@given(data=st.data())
@hypothesis_settings(max_examples=8)
def test_products_equal_the_spectrogram(n_fft, hop, data):
    reflect, past_end = data.draw(st.booleans()), data.draw(st.booleans())
    frontend = Mel(n_fft, hop, 20, reflect=reflect, past_end=past_end)
    samples = data.draw(st.integers(frontend.min_samples + hop, 5 * n_fft))
    audio = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    whole = frontend(audio)
    assert whole.shape == (2, frontend.n_frames(samples), 20)
    torch.testing.assert_close(MatrixMel(frontend)(audio), whole, rtol=0, atol=5e-3)
    torch.testing.assert_close(frontend.exportable()(audio), whole, rtol=0, atol=5e-3)
    audio = 0.1 * torch.randn(2, (n_fft // hop + 1 + samples // hop) * hop)
    first = MatrixMel(frontend, whole=False)(audio)
    torch.testing.assert_close(first, frontend(audio)[:, : first.shape[1]], rtol=0, atol=5e-3)
    assert first.shape[1] == (audio.shape[1] - (n_fft + 1) // 2) // hop + 1


@given(n_fft=st.sampled_from([256, 512, 1024]), hop=st.integers(100, 600), samples=st.integers(1, 9000), data=st.data())
def test_counts_are_those_of_what_is_made(n_fft, hop, samples, data):
    frontend = Mel(n_fft, hop, 10, reflect=data.draw(st.booleans()), past_end=data.draw(st.booleans()))
    samples = max(samples, frontend.min_samples)
    frames = len(frontend(torch.zeros(samples)))
    assert frontend.n_frames(samples) == frames
    least = frontend.n_samples(frames)
    assert least <= samples
    assert frontend.n_frames(least) == frames or least == frontend.min_samples
    assert least == frontend.min_samples or frontend.n_frames(least - 1) < frames


def test_silence_has_the_value_that_padding_takes():
    for frontend, fill in ((Mel(), -100.0), (build("musicnn"), 0.0), (build("musicnn_torch"), 0.0)):
        assert frontend.fill == fill
        assert (frontend(torch.zeros(5000)) == fill).all()


def test_audio_too_short_to_be_mirrored_is_refused():
    with pytest.raises(ValueError, match="samples at least 257"):
        Mel()(torch.zeros(256))
    assert Mel(reflect=False)(torch.zeros(1)).shape == (1, 96)
