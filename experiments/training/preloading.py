"""Training tracks in the memory of the device, from which crops are cut without a file, a copy or a wait."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psutil
import torch
from torch import Tensor

from datasets.progress import progress
from datasets.store import Reader
from experiments.errors import UserError
from experiments.launcher import is_global_zero
from experiments.messages import say

SHARE = 0.5  # of the memory that is free before the first step; the rest is for the training
GIB = 2**30


class Preloaded:
    """The rows of some tracks, one after another in one array on a device.

    Args:
        features: Reader of them.
        ids: Of the tracks, in the order in which they are numbered.
        length: Rows of a crop.
        device: That holds them.
    """

    def __init__(self, features: Reader, ids: Sequence[str], length: int, device: torch.device) -> None:
        header = features.header
        self._counts = [features.length(identity) for identity in ids]
        self._first = [length, *(length + np.cumsum(self._counts)).tolist()]  # rows before and behind, for padding
        self._length, self._fill = length, header.fill
        shape = (self._first[-1] + length, *header.item_shape)
        self._rows = torch.empty(shape, dtype=getattr(torch, header.dtype), device=device)
        with progress("loading the training tracks", len(ids), "tracks", show=is_global_zero()) as advance:
            for identity, first, rows in zip(ids, self._first, self._counts, strict=False):
                self._rows[first : first + rows] = torch.from_numpy(features.read_crop(identity, 0, rows))
                advance()

    def crops(self, track: Tensor, start: Tensor) -> Tensor:
        """What a reader would give of the tracks, on the device.

        Args:
            track: `[batch]`, their numbers.
            start: `[batch]` or `[batch, views]`, first rows of the crops; below 0 where padding comes first.

        Returns:
            `[batch, length, *item_shape]`, or `[batch, views, length, *item_shape]`.
        """
        tracks = track.view(-1, *[1] * (start.ndim - 1)).expand_as(start)
        crops = [self._crop(*place) for place in zip(tracks.flatten().tolist(), start.flatten().tolist(), strict=True)]
        return torch.stack(crops).unflatten(0, start.shape)

    def _crop(self, track: int, start: int) -> Tensor:
        first, behind = self._first[track] + start, self._counts[track] - start
        crop = self._rows[first : first + self._length]
        if start >= 0 and behind >= self._length:
            return crop
        crop = crop.clone()
        crop[: max(-start, 0)] = self._fill
        crop[max(behind, 0) :] = self._fill
        return crop


def size(features: Reader, ids: Sequence[str]) -> int:
    """Bytes of the rows of some tracks."""
    row = np.dtype(features.header.dtype).itemsize * int(np.prod(features.header.item_shape, dtype=np.int64))
    return row * sum(features.length(identity) for identity in ids)


def free(device: torch.device) -> int:
    """Bytes of the device's memory that nothing takes yet."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def fits(wanted: str, features: Reader, ids: Sequence[str], device: torch.device) -> bool:
    """Whether tracks are to be preloaded; says so where it is not the settings that say it.

    Raises:
        UserError: The settings want it, and there is no room for them.
    """
    if wanted == "no" or (wanted == "auto" and (device.type != "cuda" or features.header.kind != "audio")):
        return False
    needed, there = size(features, ids), free(device)
    room = needed <= SHARE * there
    sizes = f"{needed / GIB:.3g} GiB of training tracks, {there / GIB:.3g} GiB free on {device}"
    if wanted == "auto":
        say(f"{sizes}: {'loaded once' if room else 'read from the store as they are drawn'}")
    elif not room:
        raise UserError(
            f"datamodule.preload=device: {sizes}, of which a training needs {1 - SHARE:.0%}; leave it out, or train "
            "on a device with more memory"
        )
    return room
