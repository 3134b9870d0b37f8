"""CNN14 of PANNs: a tagger of any sound, trained on AudioSet, whose layer of 2,048 values is a general embedding.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", TASLP 2020. Their
published weights load by their names, in the file as it is published: a dictionary that holds the tensors under `model`
beside the state of their training. The names of AudioSet's 527 classes, in the order of its `class_labels_indices.csv`,
are in `audioset_labels.txt` (AudioSet is CC BY 4.0, Google; so are the weights).

The published networks for 16 and 8 kHz were trained on every second or fourth sample of 32 kHz without a low-pass
filter. Audio that is resampled properly, as everywhere in this project, lacks the aliases that they have learned with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Rate
from models.convolutional import Pair, Tagger
from models.frontends.base import FrontEnd
from models.initial_weights import State

LABELS = Path(__file__).with_name("audioset_labels.txt")
LICENCE = "CC BY 4.0"
SPECTRUM = "spectrogram_extractor.stft.conv_real.weight"  # [bins, 1, n_fft]: its length tells the sample rate
SECONDS = 10


class ConvPair(nn.Module):
    """Two convolutions of 3 x 3 without bias, each with batch norm and ReLU; average pooling; dropout.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        pool: Frames and bands that become one; one number for both.
        dropout: Rate.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv1": "bn1", "conv2": "bn2"}

    def __init__(self, channels_in: int, channels: int, pool: Pair, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.pool, self.dropout = pool, nn.Dropout(dropout)
        for conv in (self.conv1, self.conv2):
            nn.init.xavier_uniform_(conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, frames, bands]`, pooled along the last two."""
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return self.dropout(F.avg_pool2d(x, self.pool) if self.pool != 1 else x)


class CNN14(Tagger, name="cnn14"):
    """Six pairs of convolutions over the level of mel bands, and two linear layers; at 32 kHz.

    Any number of frames from 32 on: after the mean over bands, the sum of maximum and mean over time is classified.
    Unlike in the published code, the layer `penultimate` is what comes before dropout, in training too.
    """

    frontend_arguments: ClassVar[Mapping[str, Any]] = {
        "sample_rate": 32_000,
        "n_fft": 1024,
        "hop": 320,
        "bands": 64,
        "low": 50.0,
        "high": 14_000.0,
        "scale": "slaney",
        "norm": "area",
    }
    window_samples = SECONDS * 32_000
    window = 1 + SECONDS * 100
    min_frames = 32
    derived = ("n_classes", "bands")
    layer_names = (*(f"conv_block{number}" for number in range(1, 7)), "penultimate")
    within: ClassVar[Mapping[str, str]] = {"fc1": "penultimate"}
    head_prefixes = ("fc_audioset.",)
    stages = 6
    rebuilt = ("spectrogram_extractor.", "logmel_extractor.")

    def __init__(
        self,
        *,
        n_classes: int = 527,
        bands: int = 64,
        channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048),
        dropout: Rate = 0.5,
        block_dropout: Rate = 0.2,
    ) -> None:
        """A new network, with random weights.

        Args:
            n_classes: Number of logits.
            bands: Of a frame.
            channels: Of each of the six pairs; the last is also the width of the embedding.
            dropout: Rate before either linear layer.
            block_dropout: Rate after every pair.

        Raises:
            ValueError: Other than six pairs, or fewer bands than five poolings by two leave one of.
        """
        super().__init__()
        self.check({"channels": channels})
        if bands < 2**5:
            raise ValueError(f"{bands} bands: this network pools them five times by two, expected at least 32")
        self.n_classes = n_classes
        self.bn0 = nn.BatchNorm2d(bands)
        width = 1
        for number, wider in enumerate(channels, start=1):
            setattr(self, f"conv_block{number}", ConvPair(width, wider, 2 if number < 6 else 1, block_dropout))
            width = wider
        self.fc1 = nn.Linear(width, width)
        self.fc_audioset = nn.Linear(width, n_classes)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.fc1, self.fc_audioset):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes and bands."""
        return {"n_classes": n_classes, "bands": frontend.item_shape[0]}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of PANNs; the size of the Fourier transform, which it holds, tells which sample rate a file is of.

        Files with AudioSet's number of classes get its names.
        """
        published = super().from_published(state)
        if published is None or SPECTRUM not in state:
            return None
        if state[SPECTRUM].shape[-1:] != (cls.frontend_arguments["n_fft"],):
            return None
        arguments, tensors, _ = published
        if arguments["n_classes"] != len(labels := audioset_labels()):
            return arguments, tensors, {}
        return arguments, tensors, {"task": "tagging", "labels": list(labels), "licence": LICENCE}

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Classes, bands and channels."""
        return {**super().published_arguments(state), "bands": len(state["bn0.weight"])}

    def stem(self, x: Tensor) -> Tensor:
        """Levels in dB `[batch, frames, bands]` to `[batch, 1, frames, bands]`, each band normalised."""
        return self.bn0(x.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)[:, None]

    def penultimate(self, cells: Tensor) -> Tensor:
        """The embedding of PANNs: cells `[batch, channels, frames, bands]` to `[batch, channels, 1]`."""
        x = cells.mean(3)
        x = x.amax(2) + x.mean(2)
        return F.relu(self.fc1(self.dropout(x)))[..., None]

    def classify(self, cells: Tensor) -> Tensor:
        """The hidden layer to logits."""
        return self.fc_audioset(self.dropout(cells[..., 0]))


class CNN14At16kHz(CNN14, name="cnn14_16k"):
    """The same at 16 kHz, up to 8 kHz."""

    frontend_arguments: ClassVar[Mapping[str, Any]] = {
        **CNN14.frontend_arguments,
        "sample_rate": 16_000,
        "n_fft": 512,
        "hop": 160,
        "high": 8000.0,
    }
    window_samples = SECONDS * 16_000


class CNN14At8kHz(CNN14, name="cnn14_8k"):
    """The same at 8 kHz, up to 4 kHz."""

    frontend_arguments: ClassVar[Mapping[str, Any]] = {
        **CNN14.frontend_arguments,
        "sample_rate": 8000,
        "n_fft": 256,
        "hop": 80,
        "high": 4000.0,
    }
    window_samples = SECONDS * 8000


def audioset_labels() -> tuple[str, ...]:
    """Names of AudioSet's 527 classes, in the order of its list."""
    return tuple(LABELS.read_text(encoding="utf-8").splitlines())
