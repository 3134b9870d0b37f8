"""Songs of clicks, and a network with nothing to be trained that sees them as beats, the loud ones as downbeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn

from models.frontends import FrontEnd
from models.network import Network

QUIET, LOUD = 0.4, 0.9


class Levels(FrontEnd):
    """The largest sample around a frame."""

    units, item_shape = "", (1,)

    def __init__(self, sample_rate: int = 8000, hop: int = 80) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.context = sample_rate, hop, hop

    def forward(self, audio):
        self.check(audio)
        frames = nn.functional.pad(audio, (self.hop, self.hop)).unfold(-1, 2 * self.hop, self.hop)
        return frames.abs().amax(-1, keepdim=True)


class Clicks(Network):
    """Steps of two frames, whose level is the logit of a beat, and of a downbeat."""

    frontend, seconds, over_time, pool, margin = Levels, 4.0, True, 2, 6
    layer_names = ("steps",)

    def __init__(self, n_classes: int = 2) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.scale = nn.Parameter(torch.tensor(20.0))

    def embed(self, x, layers):
        steps = x[:, : x.shape[1] // 2 * 2].unflatten(1, (-1, 2)).amax(2)
        between = torch.tensor([QUIET / 2, (QUIET + LOUD) / 2])
        return {"steps": self.scale * (steps - between)}

    def forward(self, x):
        return self.embed(x, ["steps"])["steps"]


def clicks(path: Path, rate: int, seconds: float, bpm: float = 120.0, channels: int = 1) -> np.ndarray:
    """Write a song of clicks, four to a bar, the first of them at half a second; returns the times of the beats."""
    times = np.arange(0.5, seconds - 0.1, 60 / bpm)
    sound = np.zeros((round(rate * seconds), channels), np.float32)
    length = round(0.03 * rate)
    tone = np.exp(-np.arange(length) / (0.008 * rate)) * np.cos(2 * np.pi * 800 * np.arange(length) / rate)
    for number, start in enumerate(np.rint(times * rate).astype(int)):
        sound[start : start + length] += (QUIET if number % 4 else LOUD) * tone[:, None]
    soundfile.write(path, sound, rate)
    return times
