"""The grid of patches."""

from __future__ import annotations

from torch import Tensor

PATCH = 16  # bands and frames of a patch


def grid_size(length: int, stride: int) -> int:
    """Number of patches along an axis of `length` values."""
    return (length - PATCH) // stride + 1


def check_input(x: Tensor, bands: int, most: int) -> Tensor:
    """Frames `[B, T, bands]` as an image `[B, bands, T]`.

    Args:
        x: Normalised log-mel.
        bands: That the network takes.
        most: Frames that it takes at most.

    Raises:
        ValueError: It is no tensor, or of another shape.
    """
    expected = f"expected a tensor [B, T, {bands}], {PATCH} <= T <= {most}"
    if not isinstance(x, Tensor):
        raise ValueError(f"got a {type(x).__name__}: {expected}; use torch.from_numpy for an array")
    if x.ndim != 3 or x.shape[2] != bands or x.shape[0] == 0 or not PATCH <= x.shape[1] <= most:
        remedy = ""
        if x.ndim == 3 and x.shape[2] == bands and x.shape[1] > most:
            remedy = f"; cut the input into windows of at most {most} frames"
        raise ValueError(f"got shape {list(x.shape)}: {expected}{remedy}")
    return x.transpose(1, 2)
