"""A small network for tempo that treats all tempi alike: convolutions along a logarithmic axis of periods.

Playing music faster moves every peak of its autocorrelation by as much along that axis, so that filters which know what
is beat, bar and half a beat at one tempo know it at all of them; only which tempi people tap to is learned for each. So
a training needs little music. Bands have autocorrelations of their own, as of Foroughmand and Peeters, "Deep-rhythm for
global tempo estimation in music", ISMIR 2019; here one network reads all of their lags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Positive, Rate
from models.frontends.base import FrontEnd, full_precision
from models.frontends.onset import RANGE
from models.tempo_network import TempoNetwork

STEPS = 64  # of an octave
SLOWEST, OCTAVES = 15.0, 6  # BPM of the first period, and how far up the axis goes
CLASSES = (30, 285)  # BPM of the first and of the last class
DILATIONS = (1, 2, 4, 8, 16, 32)  # together they see two octaves to either side
QUIET = 1e-6  # dB squared: the variance of an envelope without onsets


class Residual(nn.Module):
    """A dilated convolution beside the input, with batch norm, ReLU and dropout.

    Args:
        channels: Of both.
        dilation: Steps between the taps of the filters.
        dropout: Rate.
    """

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation)
        self.bn, self.dropout = nn.BatchNorm1d(channels), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, periods]`, of the same shape."""
        return x + self.dropout(F.relu(self.bn(self.conv(x))))


class Scale(nn.Module):
    """From the last layer to the classes: one value a period, a bias for each, read at the tempi of the classes.

    Args:
        channels: Of the last layer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.values = nn.Conv1d(channels, 1, 1)
        self.bias = nn.Parameter(torch.zeros(STEPS * OCTAVES))
        places = torch.log2(torch.arange(CLASSES[0], CLASSES[1] + 1, dtype=torch.float64) / SLOWEST) * STEPS
        self.register_buffer("left", places.long(), persistent=False)
        self.register_buffer("share", (places % 1).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, periods]` to logits `[batch, 256]`."""
        values = self.values(x)[:, 0] + self.bias
        return torch.lerp(values[:, self.left], values[:, self.left + 1], self.share)


def autocorrelation(x: Tensor, lags: int) -> Tensor:
    """Products of `[batch, groups, frames]` with itself, moved by 0 to `lags - 1` frames, `[batch, groups, lags]`."""
    frames = x.shape[2]
    if torch.compiler.is_compiling():  # exported programs have no Fourier transform
        return (F.pad(x, (0, lags - 1)).unfold(2, frames, 1) @ x[..., None])[..., 0]
    size = frames + lags
    spectrum = torch.fft.rfft(x, n=size)
    return torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), n=size)[..., :lags]


class TempoLags(TempoNetwork, name="tempo_lags"):
    """Autocorrelations of the onsets of groups of bands, resampled to a logarithmic axis, and six dilated convolutions.

    Any number of frames from 256 on, of about 3 s; the 256 classes are 30, 31, ... 285 BPM.
    """

    frontend = "mel_db"
    frontend_arguments: ClassVar[Mapping[str, Any]] = {
        "sample_rate": 22_050,
        "n_fft": 1024,
        "hop": 256,
        "bands": 40,
        "low": 30.0,
        "scale": "slaney",
        "norm": "area",
    }
    min_frames = 256
    derived = ("n_classes", "bands", "rate")
    layer_names = (*(f"layer{number}" for number in range(1, len(DILATIONS) + 2)),)
    head_prefixes = ("scale.",)

    def __init__(
        self,
        *,
        n_classes: int = 256,
        bands: int = 40,
        rate: float = 22_050 / 256,
        groups: Positive = 8,
        channels: Positive = 32,
        dropout: Rate = 0.1,
    ) -> None:
        """A new network, with random weights.

        Args:
            n_classes: Number of logits, 256; or 0.
            bands: Of a frame.
            rate: Frames a second.
            groups: Of neighbouring bands, which have an envelope of their own; one more has all bands.
            channels: Of all layers.
            dropout: Rate after every convolution.

        Raises:
            ValueError: Other classes, or fewer bands than groups.
        """
        super().__init__()
        if n_classes not in (0, CLASSES[1] - CLASSES[0] + 1):
            raise ValueError(f"{n_classes} outputs: this network gives the 256 classes of datamodule.task=tempo alone")
        if groups > bands:
            raise ValueError(f"groups={groups}: the front end makes {bands} bands")
        self.n_classes, self.groups = n_classes, groups
        self.last = math.ceil(60 * rate / SLOWEST) + 1  # the longest lag, frames
        tempi = SLOWEST * torch.exp2(torch.arange(STEPS * OCTAVES, dtype=torch.float64) / STEPS)
        lags = 60 * rate / tempi
        self.register_buffer("left", lags.long(), persistent=False)
        self.register_buffer("share", (lags % 1).float(), persistent=False)
        self.layer1 = nn.Conv1d(groups + 1, channels, 5, padding=2)
        for number, dilation in enumerate(DILATIONS, start=2):
            setattr(self, f"layer{number}", Residual(channels, dilation, dropout))
        self.scale = Scale(channels) if n_classes else nn.Linear(channels, 0)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes, bands and frames a second."""
        bands = math.prod(frontend.item_shape) if frontend.item_shape else 0
        return {"n_classes": n_classes, "bands": bands, "rate": frontend.frame_rate}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> None:
        """None: there are no published weights."""

    def stem(self, x: Tensor) -> Tensor:
        """Levels in dB `[batch, frames, bands]` to autocorrelations `[batch, groups + 1, periods]`."""
        with full_precision(x.device):
            x = x.float()
            x = torch.maximum(x, x.amax((1, 2), keepdim=True) - RANGE)
            rises = F.relu(x.diff(dim=1))
            groups = [group.mean(2) for group in rises.tensor_split(self.groups, 2)]
            return self.periods(torch.stack([*groups, rises.mean(2)], 1))

    def periods(self, envelopes: Tensor) -> Tensor:
        """Envelopes `[batch, groups, frames]` to their autocorrelation at the periods of the axis, 1 at lag 0."""
        frames = envelopes.shape[2]
        lags = autocorrelation(envelopes - envelopes.mean(2, keepdim=True), self.last + 1)
        pairs = frames - torch.arange(self.last + 1, device=lags.device)
        lags = lags / pairs.clamp(min=frames // 4)
        lags = lags / lags[..., :1].clamp(min=QUIET)
        return torch.lerp(lags[..., self.left], lags[..., self.left + 1], self.share.float())

    def classify(self, cells: Tensor) -> Tensor:
        """The values at the tempi of the classes."""
        return self.scale(cells if self.n_classes else cells.mean(2))
