"""What networks for tempo share: windows of twelve seconds, and of some the image that they look at."""

from __future__ import annotations

import math
from typing import Any

from models.convolutional import Tagger
from models.frontends.base import FrontEnd

SAMPLES = 262_144  # of a window: 11.9 s at 22,050 Hz, 513 frames
SHORTEST = 32  # frames: fewer would not outlast the poolings


class TempoNetwork(Tagger):
    """A recording that is shorter than a window is seen as it is: padding, or repetition, would have its own tempo."""

    input = "features"
    window_samples = SAMPLES
    min_frames = SHORTEST

    def unpadded(self, frames: int) -> int:
        """As many as there are."""
        if frames < self.min_frames:
            raise ValueError(f"{frames} frames: the network {self.name} needs at least {self.min_frames}")
        return frames


class TempoImageNetwork(TempoNetwork):
    """Layers over an image that `models.tempo_image` makes of the frames."""

    derived = ("n_classes", "bands")
    frontend = "onset"
    rebuilt = ("spectrogram_extractor.", "logmel_extractor.")

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes, and bands of the frames, 0 where these are single values."""
        return {"n_classes": n_classes, "bands": math.prod(frontend.item_shape) if frontend.item_shape else 0}
