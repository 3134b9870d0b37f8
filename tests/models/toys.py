"""A network and front ends as somebody outside of the project would write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.frontends import FrontEnd
from models.network import Network


class Toy(Network):
    """One convolution over frames, then a head on their mean.

    Args:
        n_classes: Number of logits.
        bands: Of the input.
        width: Of the hidden layer.
        second: Whether there is a second head.
    """

    frontend = "tests.models.toys:Levels"
    frontend_arguments: ClassVar = {"bands": 8}
    derived = ("n_classes", "bands")
    layer_names = ("frames", "clip")
    min_frames = 3

    def __init__(self, n_classes: int, bands: int = 8, width: int = 6, second: bool = False) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.conv = nn.Conv1d(bands, width, 3)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, n_classes)
        self.head_second = nn.Linear(width, n_classes) if second else None

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        frames = F.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        return frames, frames.mean(1)

    def forward(self, x: Tensor):
        clip = self._run(x)[1]
        return self.head(clip) if self.head_second is None else {"one": self.head(clip), "two": self.head_second(clip)}

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        frames, clip = self._run(x)
        tokens = {"frames": frames, "clip": clip[:, None]}
        return {layer: tokens[layer] for layer in layers}


class Levels(FrontEnd):
    """Loudness of frames, times a gain for each band that is learned."""

    sample_rate, hop = 8000, 100
    context = 100

    def __init__(self, bands: int = 8) -> None:
        super().__init__()
        self.item_shape = (bands,)
        self.gains = nn.Parameter(torch.linspace(0.5, 1.5, bands))

    def forward(self, audio: Tensor) -> Tensor:
        self.check(audio)
        samples = self.hop * self.n_frames(audio.shape[-1])
        padded = F.pad(audio, (0, samples - audio.shape[-1]))
        return padded.unflatten(-1, (-1, self.hop)).abs().mean(-1, keepdim=True) * self.gains


class Raw(Network):
    """One convolution over samples, then a head on their mean."""

    frontend = "waveform"
    frontend_arguments: ClassVar = {"sample_rate": 8000}
    input = "audio"
    layer_names = ("clip",)
    min_frames = 16

    def __init__(self, n_classes: int, width: int = 4) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.conv = nn.Conv1d(1, width, 16, stride=8)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x, ["clip"])["clip"][:, 0])

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return {"clip": F.relu(self.conv(x[:, None])).mean(-1)[:, None]}
