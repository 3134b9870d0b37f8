"""The front end of Beat This against torchaudio and the published package."""

from __future__ import annotations

import torch

from models.frontends import build
from tests.peers import peer


def noise() -> torch.Tensor:
    audio = 0.1 * torch.randn(22_050 * 2 - 13, generator=torch.Generator().manual_seed(0))
    audio[10_000:20_000] *= 1e-3
    return audio


def test_levels_are_those_of_torchaudio():
    transforms = peer("torchaudio").transforms
    spec = {"n_fft": 1024, "hop_length": 441, "f_min": 30, "f_max": 11_000, "n_mels": 128, "mel_scale": "slaney"}
    theirs = transforms.MelSpectrogram(22_050, **spec, normalized="frame_length", power=1)(noise()).T
    frontend = build("beat_this_mel")
    found = frontend(noise())
    torch.testing.assert_close(found, torch.log1p(1000 * theirs), rtol=0, atol=1e-4)
    torch.testing.assert_close(frontend.exportable()(noise()[None])[0], found, rtol=0, atol=1e-4)
    assert (frontend.frame_rate, frontend.fill) == (50.0, 0.0)


def test_levels_are_those_of_the_package():
    peer("beat_this")
    theirs = peer("beat_this.preprocessing").LogMelSpect()(noise())
    torch.testing.assert_close(build("beat_this_mel")(noise()), theirs, rtol=0, atol=1e-4)
