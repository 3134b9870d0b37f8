"""Audio as it is: the front end of networks that read samples."""

from __future__ import annotations

from torch import Tensor

from models.frontends.base import FrontEnd


class Waveform(FrontEnd, name="waveform"):
    """The identity: a frame is a sample.

    Args:
        sample_rate: Hz, of the audio.

    Raises:
        ValueError: A rate below 1.
    """

    units = "full scale"

    def __init__(self, sample_rate: int = 16_000) -> None:
        super().__init__()
        if sample_rate < 1:
            raise ValueError(f"sample_rate={sample_rate}: expected Hz, at least 1")
        self.sample_rate = sample_rate

    def n_frames(self, samples: int) -> int:
        """As many."""
        return samples

    def n_samples(self, frames: int) -> int:
        """As many."""
        return max(frames, self.min_samples)

    def forward(self, audio: Tensor) -> Tensor:
        """`[..., samples]` float32, unchanged.

        Raises:
            TypeError: The samples are not float32.
            ValueError: No samples.
        """
        self.check(audio)
        return audio
