"""What networks give: logits, of one head or of several by name."""

from __future__ import annotations

from torch import Tensor

Outputs = Tensor | dict[str, Tensor]  # logits `[batch, n_classes]`, or those of several heads by name, main one first


def main_head(outputs: Outputs) -> Tensor:
    """Logits of the only or the first head."""
    return outputs if isinstance(outputs, Tensor) else next(iter(outputs.values()))
