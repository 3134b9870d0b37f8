"""Networks that give their outputs step by step along a recording, as those for beats do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.convolutional import Tagger
from models.initial_weights import State

BEATS = ("beat", "downbeat")


class OverTime(Tagger):
    """Layers that run one after the other, and a linear layer on what the last of them gives for every step.

    A subclass makes its layers, and calls `make_head`, in its constructor. It makes `spec_bn`, too, as other taggers
    do, or defines `stem`, which turns frames `[batch, frames, *item_shape]` into the input of the first layer. Where a
    layer gives other than `[batch, steps, dim]`, it defines `tokens`. Of a window of any number of frames, the last
    layer gives `frames // pool` steps.
    """

    over_time = True
    coverage = "consecutive"
    seconds = 30.0
    token_names = ("steps",)

    def make_head(self, dim: int, n_classes: int, sum_rule: bool) -> None:
        """A linear layer.

        Args:
            dim: Of what `tokens` gives for a step of the last layer.
            n_classes: Number of logits.
            sum_rule: Whether two logits are summed as `beats_of` does; others never are.
        """
        self.n_classes, self.sums = n_classes, sum_rule and n_classes == len(BEATS)
        self.head = nn.Linear(dim, n_classes)

    def tokens(self, cells: Any) -> Tensor:
        """What a layer gives to `[batch, steps, dim]`."""
        return cells

    def classify(self, cells: Any) -> Tensor:
        """What the last layer gives to logits `[batch, steps, n_classes]`."""
        logits = self.head(self.tokens(cells))
        return beats_of(logits) if self.sums else logits

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """None, unless a class knows of published weights."""
        return None


def beats_of(logits: Tensor) -> Tensor:
    """Logits `[..., 2]` of "another beat" and of "downbeat" to those of "beat" and of "downbeat", float32.

    A downbeat is a beat: what speaks for the one speaks for the other (Foscarin, Schlüter and Widmer, "Beat This!",
    ISMIR 2024, section 3).
    """
    other, downbeat = logits.float().unbind(-1)
    return torch.stack([other + downbeat, downbeat], -1)
