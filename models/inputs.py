"""From what a store or a file holds to what a network sees: the only place where inputs are normalised."""

from __future__ import annotations

from torch import Tensor, nn

from models.frontends.base import FrontEnd
from models.samples import FULL_SCALE


class Inputs(nn.Module):
    """Stored features or audio to normalised frames, on the device of the batch.

    Args:
        frontend: Of the network.
        mean: Of un-normalised features over the training corpus.
        std: The same; the network sees `(x - mean) / (2 std)`.
        audio: Whether batches hold audio `[batch, samples]`, int16 or float32 in [-1, 1]; else features
            `[batch, frames, *item_shape]`, un-normalised, of any floating type.
    """

    def __init__(self, frontend: FrontEnd, mean: float, std: float, audio: bool = False) -> None:
        super().__init__()
        self.frontend, self.mean, self.std, self.audio = frontend, mean, std, audio

    def waveform(self, x: Tensor) -> Tensor:
        """Stored audio as float32 in [-1, 1]."""
        return x if x.is_floating_point() else x.float() / FULL_SCALE

    def forward(self, x: Tensor) -> Tensor:
        """Network input `[batch, frames, *item_shape]`, float32."""
        if self.audio:
            x = self.frontend(self.waveform(x))
        return (x.float() - self.mean) / (2 * self.std)
