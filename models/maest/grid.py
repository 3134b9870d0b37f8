"""The grid of patches."""

from __future__ import annotations

PATCH = 16  # bands and frames of a patch


def grid_size(length: int, stride: int) -> int:
    """Number of patches along an axis of `length` values."""
    return (length - PATCH) // stride + 1
