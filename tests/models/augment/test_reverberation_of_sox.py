"""Reverberation beside SoX itself."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from models.augment.reverberation import reverberated
from tests.peers import peer

cysox = peer("cysox")
RATE = 22_050


@pytest.mark.parametrize("percent", [(50, 50, 100), (99, 0, 99), (0, 0, 0), (13, 77, 41)], ids=str)
def test_sox_gives_the_same(percent, tmp_path):
    torch.manual_seed(0)
    given, taken = tmp_path / "given.wav", tmp_path / "taken.wav"
    soundfile.write(given, (0.4 * torch.rand(20_000) - 0.2).numpy(), RATE, subtype="PCM_24")
    x = torch.from_numpy(soundfile.read(given, dtype="float32")[0])
    effects = [cysox.fx.Reverb(*percent), cysox.fx.Channels(1)]
    cysox.convert(given, taken, effects, channels=1, bits=32, encoding="float")
    ours = reverberated(x[None], *(torch.tensor([float(value)]) for value in percent), RATE)[0]
    assert np.abs(soundfile.read(taken, dtype="float32")[0] - ours.numpy()).max() < 1e-6
