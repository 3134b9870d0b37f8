"""Bands of notes against their definition in numpy; values of a few filters are those of madmom 0.17."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.frontends import build


def by_definition(audio: np.ndarray, rate: int = 44_100, size: int = 2048, hop: int = 441) -> np.ndarray:
    """Levels `[frames, bands]`, filter by filter."""
    notes = 440 * 2.0 ** (np.arange(-60, 70) / 12)
    notes = notes[(notes >= 30) & (notes <= 17_000)]
    frequencies = np.arange(size // 2) * rate / size
    bins = np.unique([np.abs(frequencies - note).argmin() for note in notes])
    filters = np.zeros((size // 2 + 1, len(bins) - 2))
    for band, (left, peak, right) in enumerate(zip(bins[:-2], bins[1:-1], bins[2:], strict=True)):
        filters[left:peak, band] = np.arange(peak - left) / (peak - left)
        filters[peak:right, band] = 1 - np.arange(right - peak) / (right - peak)
        filters[:, band] /= filters[:, band].sum()
    padded = np.pad(audio.astype(np.float64), size // 2)
    frames = [padded[start : start + size] * np.hanning(size) for start in range(0, len(audio) + 1, hop)]
    return np.log(np.abs(np.fft.rfft(frames)) @ filters + 1e-6)


def test_levels_are_those_of_the_definition():
    audio = 0.1 * np.random.default_rng(0).standard_normal(22_050).astype(np.float32)
    audio[5000:9000] = 0
    frontend = build("log_bands")
    found = frontend(torch.from_numpy(audio))
    assert found.shape == (frontend.n_frames(len(audio)), 81)
    np.testing.assert_allclose(found, by_definition(audio), atol=2e-4)
    exported = frontend.exportable()(torch.from_numpy(audio)[None])[0]
    torch.testing.assert_close(exported, found, rtol=0, atol=5e-3)  # of levels that are all rounding


def test_some_filters():
    filters = build("log_bands").filters
    assert filters.shape == (1025, 81)
    assert filters[:, 0].nonzero().tolist() == [[2]]
    assert filters[40:43, 30].tolist() == [0.25, 0.5, 0.25]
    assert filters[694:697, 80].tolist() == pytest.approx([0.00057389, 0.00114778, 0.00172166], abs=1e-8)
    torch.testing.assert_close(filters.sum(0), torch.ones(81))


def test_silence_is_the_logarithm_of_the_floor():
    frontend = build("log_bands", floor=1e-4)
    assert frontend.fill == pytest.approx(np.log(1e-4))
    assert (frontend(torch.zeros(4410)) == frontend.fill).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"high": 30_000.0}, r"expected 0 < low < high <= 22050"),
        ({"floor": 0.0}, "a floor above 0"),
        ({"n_fft": 64, "high": 1000.0}, "no band between so few bins"),
    ],
)
def test_arguments_that_make_no_bands(arguments, message):
    with pytest.raises(ValueError, match=message):
        build("log_bands", **arguments)
