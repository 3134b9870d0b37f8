"""Stored audio for what looks at log-mels: computed as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from datasets.store import Reader
from datasets.upstream import open_features
from experiments.settings import DatamoduleSettings
from models.frontends import FrontEnd, build
from models.samples import FULL_SCALE
from preprocess.files import holds_features


def mels_of_audio(settings: DatamoduleSettings) -> FrontEnd | None:
    """A mel front end at the sample rate of the stored audio that `base_dir` holds; None where it holds none."""
    base = Path(settings.base_dir).expanduser() if settings.base_dir else None
    if base is None or not base.is_dir() or not holds_features(base):
        return None
    header = open_features(base).header
    rate = (header.producer or {}).get("sample_rate")
    return build("mel_db", sample_rate=rate) if header.kind == "audio" and rate else None


@dataclass(frozen=True)
class ComputedMels:
    """The log-mels of stored audio.

    Attributes:
        audio: Of the store, int16 or float32 `[samples]`.
        frontend: Makes the log-mels.
    """

    audio: Reader
    frontend: FrontEnd

    def length(self, id: str) -> int:
        """Frames of a track."""
        return self.frontend.n_frames(self.audio.length(id))

    def read(self, id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames `start` to `stop` of a track, float32 `[frames, bands]`; those at the ends are mirrored there."""
        hop = self.frontend.hop
        end = self.audio.length(id) if stop is None else min((stop - 1) * hop + 1, self.audio.length(id))
        samples = self.audio.read(id, start * hop, end)
        scaled = samples.astype(np.float32) / (FULL_SCALE if samples.dtype == np.int16 else 1)
        missing = max(self.frontend.min_samples - len(scaled), 0)
        return self.frontend(torch.from_numpy(np.pad(scaled, (0, missing)))).numpy()
