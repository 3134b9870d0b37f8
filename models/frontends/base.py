"""What every front end is: audio to frames, and what the rest of the suite has to know about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.fingerprint import fingerprint
from models.named import Named


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Keep mixed precision and TF32 out: 10 bits of mantissa would move a log-mel by more than 1e-4."""
    if torch.compiler.is_compiling() or device.type == "meta":  # where nothing is computed, only counted
        yield
        return
    before = torch.get_float32_matmul_precision()
    try:
        if before != "highest":
            torch.set_float32_matmul_precision("highest")
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if before != "highest":
            torch.set_float32_matmul_precision(before)


class FrontEnd(Named):
    """Audio `[..., samples]` float32 in [-1, 1] to frames `[..., frames, *item_shape]`.

    Frame n is centred on sample `n * hop`. A front end without parameters has nothing in the state dict, so it is not
    saved; one with parameters is computed on the training device and saved with the network.

    Attributes:
        sample_rate: Hz, of the audio.
        hop: Samples between frames.
        context: Samples that a frame reaches to either side of its centre, reflected edges included: what a chunk of a
            long file needs of its neighbours.
        item_shape: Of one frame: `(96,)` for 96 bands, `()` for samples.
        fill: The value of silence, which padding takes.
        units: Of the output, un-normalised.
        mean, std: Of the output over the corpus it is known from; the network sees `(x - mean) / (2 std)`. The defaults
            leave the output as it is.
        min_samples: Shortest audio it takes.
        of_recording: Whether frames depend on the whole recording, such as on its loudest moment. Then `forward` is
            `settle` of `local`, and pieces of a long file are settled together.
    """

    sample_rate: int
    hop: int = 1
    context: int = 0
    item_shape: tuple[int, ...] = ()
    fill: float = 0.0
    units: str = ""
    mean: float = 0.0
    std: float = 0.5
    min_samples: int = 1
    family: ClassVar[str] = ""
    of_recording: ClassVar[bool] = False

    def local(self, audio: Tensor) -> Tensor:
        """What depends on the audio around each frame alone: audio `[..., samples]` to `[..., frames, ...]`."""
        return self(audio)

    def settle(self, frames: Tensor) -> Tensor:
        """What `local` gives of a whole recording to its frames `[..., frames, *item_shape]`."""
        return frames

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds it; plain values."""
        return self.hyperparameters

    @property
    def parameters_dict(self) -> dict[str, Any]:
        """Everything that shapes the un-normalised output, as plain JSON values: the producer of a store."""
        return {"front_end": self.name, **self.arguments}

    @property
    def fingerprint(self) -> str:
        """Name of `parameters_dict`; a store of these features carries it."""
        return fingerprint(self.parameters_dict)

    @property
    def description(self) -> dict[str, Any]:
        """What a checkpoint says of it: `models.frontends.build(name, **arguments)` makes it again."""
        return {"name": self.name, "arguments": dict(self.arguments), "fingerprint": self.fingerprint}

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    def n_frames(self, samples: int) -> int:
        """Number of frames made from that many samples."""
        return samples // self.hop + 1

    def n_samples(self, frames: int) -> int:
        """Smallest number of samples that makes that many frames."""
        return max((frames - 1) * self.hop, self.min_samples)

    def exportable(self) -> nn.Module:
        """A module that computes the same of operations that can be written for other programs; its weights shared."""
        return self

    def exportable_local(self) -> nn.Module:
        """`local` in the same form, where it is something else than the whole."""
        return self.exportable()

    def check(self, audio: Tensor) -> None:
        """Refuse audio that is not float32, or too short.

        Raises:
            TypeError: The samples are not float32.
            ValueError: Fewer than `min_samples`.
        """
        if audio.dtype != torch.float32:
            remedy = "divide by 32768 and" if audio.dtype == torch.int16 else "first"
            raise TypeError(
                f"audio is {audio.dtype}: the front end takes float32 in [-1, 1]; {remedy} convert with .float()"
            )
        if audio.ndim == 0 or audio.shape[-1] < self.min_samples:
            raise ValueError(
                f"audio of shape {list(audio.shape)}: expected [..., samples], samples at least {self.min_samples}"
            )
