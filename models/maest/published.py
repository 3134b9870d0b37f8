"""The published layout of MAEST and PaSST: weights alone, whose shapes tell the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.maest.grid import PATCH

FRONT_END = "melspectrogram."
_HEAD_WIDTH = 64
_GRIDS = {  # rows and columns of positions -> bands, frames, stride
    (9, 31): (96, 312, 10),
    (9, 62): (96, 625, 10),
    (9, 125): (96, 1250, 10),
    (9, 187): (96, 1875, 10),
    (12, 99): (128, 998, 10),
    (10, 83): (128, 998, 12),
    (9, 71): (128, 998, 14),
    (8, 62): (128, 998, 16),
    (12, 200): (128, 2000, 10),
    (12, 300): (128, 3000, 10),
}


def published_arguments(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Arguments of `MAEST` told by the shapes of a published file; None if it is not one.

    Stride, bands and length follow from the grid of positions; 64 values per head and the head on the mean of both
    tokens are taken for granted.
    """
    try:
        dim, rows = state["freq_new_pos_embed"].shape[1:3]
        positions = state["time_new_pos_embed"].shape[3]
        hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
        classes, second = state["head.1.weight"].shape[0], state["head_dist.weight"].shape[0]
    except (KeyError, IndexError, ValueError):
        return None
    if 0 in (dim, rows, positions):
        return None
    usual = (PATCH + 10 * (rows - 1), PATCH + 10 * (positions - 1), 10)
    bands, frames, stride = _GRIDS.get((rows, positions), usual)
    return {
        "n_classes": classes,
        **({} if second == classes else {"n_classes_dist": second}),
        "n_bands": bands,
        "n_frames": frames,
        "stride_f": stride,
        "stride_t": stride,
        "time_positions": positions,
        "dim": dim,
        "heads": max(dim // _HEAD_WIDTH, 1),
        "depth": len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        "mlp_ratio": hidden / dim,
    }
