"""Mel bands of magnitudes."""

from __future__ import annotations

import numpy as np
import torch

from models.frontends import build
from tests.models.pulses import pulses
from tests.peers import peer


def test_twice_the_amplitude_is_twice_the_magnitude():
    frontend, audio = build("mel_magnitude"), torch.from_numpy(pulses(120.0, 2.0, rate=11_025))
    torch.testing.assert_close(frontend(2 * audio), 2 * frontend(audio))
    batch = audio[None]
    torch.testing.assert_close(frontend.exportable()(batch), frontend(batch), rtol=1e-3, atol=1e-4)
    assert frontend.fill == 0


def test_they_are_those_of_librosa():
    audio = pulses(120.0, 2.0, rate=11_025)
    expected = peer("librosa").feature.melspectrogram(
        y=audio, sr=11_025, n_fft=1024, hop_length=512, n_mels=40, fmin=20, fmax=5000, power=1.0, pad_mode="reflect"
    )
    np.testing.assert_allclose(
        build("mel_magnitude")(torch.from_numpy(audio)).numpy(), expected.T, rtol=1e-3, atol=1e-5
    )
