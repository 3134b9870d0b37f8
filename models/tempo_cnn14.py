"""CNN14 for global tempo: the blocks of PANNs' CNN14 over mel bands or tempograms, and one linear layer.

The geometry and names of *tempnetic*, whose weights load; what its files hold of a front end is built anew. There the
images are 64 mel bands of frames that are 1,024 samples apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.arguments import Count, Rate
from models.cnn14 import ConvPair
from models.frontends import build
from models.initial_weights import State
from models.tempo_image import LAGS, Features, TempoImage
from models.tempo_network import TempoImageNetwork

PUBLISHED: Mapping[str, Any] = {
    "sample_rate": 22_050,
    "n_fft": 2048,
    "hop": 1024,
    "bands": 64,
    "low": 20.0,
    "high": 10_000.0,
    "scale": "slaney",
    "norm": "area",
}


class TempoCNN14(TempoImageNetwork, name="tempo_cnn14"):
    """Six pairs of convolutions, the maximum and the mean over time of their mean over bins, and one linear layer.

    Any number of frames from 32 on. The lags of a tempogram take the place of bands.
    """

    layer_names = (*(f"conv_block{number}" for number in range(1, 7)), "penultimate")
    head_prefixes = ("fc.",)
    stages = 6

    def __init__(
        self,
        *,
        n_classes: int = 1,
        bands: int = 0,
        features: Features = "tempogram",
        channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048),
        dropout: Rate = 0.5,
        block_dropout: Rate = 0.2,
        time_masks: Count = 2,
    ) -> None:
        """A new network, with random weights.

        Args:
            n_classes: Number of logits.
            bands: Of a frame; 0 where it is one value of an onset envelope.
            features: The image: tempogram, tempogram_band, onset or logmel.
            channels: Of each of the six pairs; the last is also the width of the embedding.
            dropout: Rate before the linear layer.
            block_dropout: Rate after every pair.
            time_masks: Stretches of time that are hidden in training, see `models.tempo_image`.

        Raises:
            ValueError: Other than six pairs.
        """
        super().__init__()
        self.check({"channels": channels})
        self.n_classes, self.features = n_classes, features
        self.image = TempoImage(features, time_masks, bands)
        width, bins = 1, self.image.bins
        self.bn0 = nn.BatchNorm2d(bins)
        for number, wider in enumerate(channels, start=1):
            pool = (2, min(2, bins)) if number < len(channels) else 1
            bins = max(bins // 2, 1)
            setattr(self, f"conv_block{number}", ConvPair(width, wider, pool, block_dropout))
            width = wider
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(width, n_classes)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of *tempnetic*; other images than tempograms are mel bands, those of its front end."""
        published = super().from_published(state)
        if published is None or not published[0]["bands"]:
            return published
        return *published[:2], {"frontend": build("mel_db", **PUBLISHED).description}

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Classes, channels, and what is seen, by the number of bins."""
        bins = len(state["bn0.weight"])
        features = next((name for name, (first, end) in LAGS.items() if end - first == bins), "logmel")
        bands = bins if features == "logmel" else 0
        return {**super().published_arguments(state), "features": features, "bands": bands}

    def stem(self, x: Tensor) -> Tensor:
        """Frames to an image `[batch, 1, frames, bins]`, each bin normalised."""
        return self.bn0(self.image(x)[..., None])[..., 0].transpose(1, 2)[:, None]

    def penultimate(self, cells: Tensor) -> Tensor:
        """Cells `[batch, channels, frames, bins]` to `[batch, channels, 1]`."""
        x = cells.mean(3)
        return (x.amax(2) + x.mean(2))[..., None]

    def classify(self, cells: Tensor) -> Tensor:
        """The linear layer."""
        return self.fc(self.dropout(cells[..., 0]))
