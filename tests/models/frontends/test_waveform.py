"""Audio as it is."""

from __future__ import annotations

import pytest
import torch

from models.frontends import build


def test_frames_are_samples():
    frontend = build("waveform", sample_rate=8000)
    audio = torch.randn(2, 100)
    assert torch.equal(frontend(audio), audio)
    assert (frontend.item_shape, frontend.hop, frontend.context, frontend.fill) == ((), 1, 0, 0.0)
    assert frontend.n_frames(100) == frontend.n_samples(100) == 100
    assert not frontend.state_dict()
    assert (frontend.mean, frontend.std) == (0.0, 0.5)  # which leave it as it is


def test_the_rate_is_an_argument_that_its_stores_know():
    assert build("waveform").description["arguments"] == {"sample_rate": 16_000}
    assert build("waveform", sample_rate=8000).fingerprint != build("waveform").fingerprint
    with pytest.raises(ValueError, match="sample_rate=0: expected Hz"):
        build("waveform", sample_rate=0)


def test_other_audio_is_refused():
    with pytest.raises(TypeError, match=r"int16.*divide by 32768"):
        build("waveform")(torch.zeros(5, dtype=torch.int16))
    with pytest.raises(ValueError, match="at least 1"):
        build("waveform")(torch.zeros(0))
