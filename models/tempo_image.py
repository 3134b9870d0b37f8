"""What networks for tempo look at: an image of bins and frames, made of an onset envelope or of mel bands."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from models.augment.features import spec_augment
from models.frontends.onset import onset_strength
from models.tempogram import BAND, WINDOW, Tempogram

Features = Literal["tempogram", "tempogram_band", "onset", "logmel"]

LAGS = {"tempogram": (0, WINDOW), "tempogram_band": BAND}
LONGEST_MASK = 64  # frames


class TempoImage(nn.Module):
    """Frames of a front end to an image.

    An onset envelope is one value a frame. Levels of mel bands in dB become one where the image is not the bands
    themselves, so that they can be augmented before.

    Args:
        features: The tempogram of the envelope, its lags of 5 to 128 frames, the envelope itself, or mel bands.
        masks: In training, so many stretches of at most 64 frames show the mean over the window. Bins are never hidden:
            the lags of all tempi lie in a seventh of them.
        bands: Of the frames; 0 of an envelope.

    Attributes:
        bins: Of the image.

    Raises:
        ValueError: An envelope has no bands to show.
    """

    def __init__(self, features: Features, masks: int = 0, bands: int = 0) -> None:
        super().__init__()
        if features == "logmel" and not bands:
            raise ValueError(
                "features=logmel: the front end makes an onset envelope, without bands; set model.frontend=mel_db"
            )
        self.features, self.masks = features, masks
        self.tempogram = Tempogram(lags=LAGS[features]) if features in LAGS else None
        self.bins = self.tempogram.bins if self.tempogram else {"onset": 1, "logmel": bands}[features]

    def forward(self, x: Tensor) -> Tensor:
        """Frames `[batch, frames]` or `[batch, frames, bands]` to `[batch, bins, frames]`."""
        if self.features == "logmel":
            image = x.transpose(1, 2)
        else:
            envelope = x if x.ndim == 2 else onset_strength(x)
            image = envelope[:, None] if self.tempogram is None else self.tempogram(envelope)
        return self._masked(image) if self.training and self.masks else image

    def _masked(self, image: Tensor) -> Tensor:
        mean = image.mean(2, keepdim=True)
        hidden = spec_augment((image - mean).transpose(1, 2), self.masks, LONGEST_MASK, 0, 1, p=1.0)
        return hidden.transpose(1, 2) + mean
