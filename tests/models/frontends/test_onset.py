"""The onset envelope against librosa, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frontends import build
from models.frontends.onset import onset_strength
from preprocess import pieces
from preprocess.features import transform
from tests.models.pulses import pulses
from tests.peers import peer


@pytest.mark.parametrize("bpm", [61.0, 113.0, 187.0])
@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_it_is_that_of_librosa(bpm, gain):
    audio = gain * pulses(bpm, 6.0)
    expected = peer("librosa").onset.onset_strength(y=audio, sr=22_050)
    found = build("onset")(torch.from_numpy(audio)).numpy()
    assert expected.max() > 20
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_of_another_hop_too():
    audio = pulses(120.0, 3.0)
    expected = peer("librosa").onset.onset_strength(y=audio, sr=22_050, hop_length=128)
    np.testing.assert_allclose(build("onset", hop=128)(torch.from_numpy(audio)).numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (66_150, 130), (262_144, 513), (661_500, 1292)])
def test_as_many_frames_as_hops_and_silence_is_zero(samples, frames):
    frontend = build("onset")
    made = frontend(torch.zeros(samples))
    assert made.shape == (frames,) == (frontend.n_frames(samples),)
    assert not made.any()
    assert frontend.fill == 0


@given(decibels=st.floats(-12, 6))
@settings(max_examples=8, deadline=None)
def test_gain_moves_nothing(decibels):
    audio, frontend = torch.from_numpy(pulses(97.0, 3.0)), build("onset")
    torch.testing.assert_close(frontend(audio * 10 ** (decibels / 20)), frontend(audio), rtol=0, atol=1e-4)


def test_a_quiet_passage_is_measured_by_the_loudest_of_the_whole_file(monkeypatch):
    """Also where the file is transformed in pieces, of which most do not hold the loudest moment."""
    monkeypatch.setattr(pieces, "CHUNK", 4096)
    noise = np.random.default_rng(0).standard_normal(66_150).astype(np.float32)
    audio = np.concatenate([2e-6 * noise, 0.5 * pulses(120.0, 1.0), 2e-6 * noise])
    frontend = build("onset")
    whole = frontend(torch.from_numpy(audio))
    parts = torch.cat(list(transform(np.array_split(audio, 23), frontend)))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    assert whole[:100].max() < 0.1
    assert frontend(torch.from_numpy(audio[:66_150])).max() > 0.5


def test_every_example_of_a_batch_has_its_own_loudest_moment():
    loud, quiet = torch.from_numpy(pulses(120.0, 2.0)), torch.from_numpy(1e-3 * pulses(90.0, 2.0))
    frontend = build("onset")
    together = frontend(torch.stack([loud, quiet]))
    torch.testing.assert_close(together, torch.stack([frontend(loud), frontend(quiet)]), rtol=0, atol=1e-5)


def test_the_form_for_export_computes_the_same():
    audio, frontend = torch.from_numpy(pulses(140.0, 3.0))[None], build("onset")
    torch.testing.assert_close(frontend.exportable()(audio), frontend(audio), rtol=0, atol=5e-3)


def test_a_rise_counts_once_and_a_fall_not():
    levels = torch.full((8, 4), -20.0)
    levels[3] += 12.0
    assert onset_strength(levels, shift=1).tolist() == [0, 0, 0, 12, 0, 0, 0, 0]
