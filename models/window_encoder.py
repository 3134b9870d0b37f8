"""What CLMR and TUNe share: one vector of a window of a fixed number of samples, and a head, linear or not, if any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.clmr_layout import check_strictly, head_arguments, read_layout
from models.clmr_shapes import SAMPLE_RATE
from models.convolutional import Tagger
from models.errors import CheckpointError
from models.initial_weights import State


class WindowEncoder(Tagger):
    """An encoder of windows of `window` samples and of no others, and a classifier of its last layer.

    A subclass has its head under the name in `head_prefixes`, an argument `hidden` of it, and says which published
    tensors are its own: `is_published`, `published_arguments`, `published_name`.

    Attributes:
        title: What it is called in messages.
    """

    frontend = "waveform"
    frontend_arguments: ClassVar[Mapping[str, Any]] = {"sample_rate": SAMPLE_RATE}
    fixed_window = True
    head_arguments = ("n_classes", "hidden")
    coverage = "consecutive"
    title: ClassVar[str] = ""

    def check_frames(self, x: Tensor) -> None:
        """Refuse anything but windows of `window` samples of one channel.

        Raises:
            ValueError: Names the shape that is expected.
        """
        if x.ndim != 2 or x.shape[1] != self.window:
            raise ValueError(
                f"got shape {list(x.shape)}: expected [batch, {self.window}], windows of exactly {self.window} samples "
                f"of one channel"
            )

    @classmethod
    def is_published(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether tensors by their published names are of this class, complete or not."""
        raise NotImplementedError

    @classmethod
    def published_name(cls, key: str) -> str:
        """The published name of a tensor of the encoder."""
        return key

    @classmethod
    def published_metadata(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What else follows of the arguments of a published network."""
        return {}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layouts of `models.clmr_layout`; without a classifier in the file a network without outputs.

        Raises:
            CheckpointError: A tensor is missing, too many or of another shape.
        """
        found = read_layout(state)
        if not cls.is_published(found.encoder):
            return None
        of_head = head_arguments(found.head) if found.head else {"n_classes": 0, "hidden": 0}
        arguments = {**cls.published_arguments(found.encoder), **of_head}
        try:
            with torch.device("meta"):
                shapes = cls(**arguments).state_dict()
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(f"not the tensors of {cls.title}: {error}") from error
        (head,) = cls.head_prefixes
        names = {cls.published_name(key): key for key in shapes if not key.startswith(head)}
        check_strictly(found, {name: shapes[key] for name, key in names.items()}, cls.title)
        own = {key: found.encoder[name] for name, key in names.items()}
        own |= {head + key: tensor for key, tensor in found.head.items()} or {
            key: torch.empty_like(tensor, device="cpu") for key, tensor in shapes.items() if key.startswith(head)
        }
        return arguments, own, cls.published_metadata(arguments)


def make_head(size: int, hidden: int, n_classes: int) -> nn.Module:
    """A linear layer, or a hidden one with ReLU before it.

    Args:
        size: Of what is classified.
        hidden: Of the hidden layer; 0 for none.
        n_classes: Number of logits.
    """
    if not hidden:
        return nn.Linear(size, n_classes)
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))
