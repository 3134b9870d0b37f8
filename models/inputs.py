"""From what a store or a file holds to what a network sees: the only place where inputs are normalised."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.frontends.base import FrontEnd

FULL_SCALE = 32768  # of stored audio, int16


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


@dataclass(frozen=True)
class WindowLength:
    """How long a window is, in the store and for the network.

    Attributes:
        frames: That the network sees.
        rows: Of the store: the same frames, or samples.
        distance: From one window of a track to the next, rows: as many as its frames are long.
        hop: Rows from one frame to the next.
    """

    frames: int
    rows: int
    distance: int
    hop: int = 1

    @classmethod
    def of_features(cls, frames: int) -> WindowLength:
        """A window of stored frames."""
        return cls(frames, frames, frames)

    @classmethod
    def of_audio(cls, frontend: FrontEnd, frames: int, samples: int | None = None) -> WindowLength:
        """A window of stored audio.

        Args:
            frontend: Makes the frames.
            frames: That the network sees, where `samples` is None.
            samples: Length of the window, where a network says it (`window_samples`).
        """
        if samples is None:
            return cls(frames, frontend.n_samples(frames), frames * frontend.hop, frontend.hop)
        return cls(frontend.n_frames(samples), samples, samples, frontend.hop)
