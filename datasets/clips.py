"""Crops of stored tracks for a network: random ones to train on, fixed windows to evaluate.

Items are dictionaries of arrays: `x [length, ...]`, rows of the store as they are stored; `start`, the row of the
track that is the first of `x`, below 0 where a short track is padded; `track`, its number in `ids`, and `rows`, how
many it has; what its targets give, `target` and perhaps `mask`; and the same of further targets under their names,
`teacher` and `teacher_mask`. An item that is to be played faster or slower has `rate`, how many times faster, and as
many rows as the fastest takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset

from datasets.targets import Targets, any_rate
from datasets.windows import Plan, centred_padding, offset_range


class Rows(Protocol):
    """What crops are cut from: a store of features or audio, or a folder of upstream's files."""

    def length(self, identity: str) -> int:
        """Rows of a track: frames, or samples."""

    def read_crop(self, identity: str, start: int, length: int) -> np.ndarray:
        """`[length, ...]` from `start` on; a track shorter than `length` is centred in silence."""


class _Crops(Dataset[dict[str, np.ndarray]]):
    """What random crops and windows share.

    Args:
        features: What is cut.
        ids: Stored track ids.
        targets: Of these tracks; None where they have none.
        length: Rows of a crop.
        extra: Further targets by name, as `teacher`.
        hop: Rows from one frame of the front end to the next: 1 for stored features, its hop for stored audio.
        frames: Frames of the front end in a crop, for its targets; None: `length // hop`.
        behind: Pad what a track lacks behind, not on both sides.
        places_only: Leave `x` out: `track` and `start` say where it lies.
    """

    def __init__(
        self,
        features: Rows,
        ids: Sequence[str],
        targets: Targets | None,
        length: int,
        extra: Mapping[str, Targets] | None = None,
        hop: int = 1,
        frames: int | None = None,
        behind: bool = False,
        places_only: bool = False,
    ) -> None:
        self.features, self.ids, self.targets, self.length = features, ids, targets, length
        self.extra, self.hop, self.behind, self.places_only = dict(extra or {}), hop, behind, places_only
        self.frames = length // hop if frames is None else frames

    def _item(self, track: int, start: int, rows: int, length: int, rate: float = 1.0) -> dict[str, np.ndarray]:
        """`length` rows from `start` on of a track of `rows` rows, and what they are trained against at this speed."""
        padding, _ = centred_padding(min(rows - start, length), length)
        item = {} if self.places_only else {"x": self._read(track, start, length, padding)}
        place = start if self.behind else start - padding
        if self.targets is not None:
            given = self.targets.crop(track, place / self.hop, self.frames, rate)
            item |= self.targets.without_padding(given, (rows - place) / self.hop / rate)
        for name, targets in self.extra.items():
            for key, value in targets.crop(track, place / self.hop, self.frames, rate).items():
                item[name if key == "target" else f"{name}_{key}"] = value
        return item | {"track": np.asarray(track), "start": np.int64(place), "rows": np.int64(rows)}

    def _read(self, track: int, start: int, length: int, padding: int) -> np.ndarray:
        x = self.features.read_crop(self.ids[track], start, length)
        return np.roll(x, -padding, axis=0) if self.behind and padding else x


class RandomCrops(_Crops):
    """Crops from random places of a track (offsets uniform, short tracks centred in silence).

    Indexed by the pairs that `datasets.samplers.EpochSampler` yields.

    Args:
        views: Crops of a track in an item; several are drawn one after another, and stacked: `x [views, length, ...]`,
            and likewise all but `track`.
        speeds: Bounds between which a crop is played faster or slower; None: as it is.
        features, ids, targets, length, extra, hop, frames, behind, places_only: As of `_Crops`.
    """

    def __init__(
        self,
        features: Rows,
        ids: Sequence[str],
        targets: Targets | None,
        length: int,
        extra: Mapping[str, Targets] | None = None,
        hop: int = 1,
        views: int = 1,
        frames: int | None = None,
        behind: bool = False,
        speeds: tuple[float, float] | None = None,
        places_only: bool = False,
    ) -> None:
        super().__init__(features, ids, targets, length, extra, hop, frames, behind or speeds is not None, places_only)
        self.views, self.speeds = views, speeds
        self.read = length if speeds is None else hop * math.ceil(length / hop * max(speeds[1], 1.0) + 1)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, np.ndarray]:
        track, seed = draw
        rng, rows = np.random.default_rng(seed), self.features.length(self.ids[track])
        items = [self._drawn(track, rows, rng) for _ in range(self.views)]
        if self.views == 1:
            return items[0]
        return {key: np.stack([item[key] for item in items]) for key in items[0]} | {"track": items[0]["track"]}

    def _drawn(self, track: int, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        rate = 1.0
        if self.speeds is not None:
            draw_rate = any_rate if self.targets is None else partial(self.targets.draw_rate, track)
            rate = draw_rate(*self.speeds, rng)
        offsets = offset_range(rows, math.ceil(self.length * rate))
        item = self._item(track, offsets[rng.integers(len(offsets))], rows, self.read, rate)
        return item if self.speeds is None else item | {"rate": np.float32(rate)}


class FixedCrops(Dataset[dict[str, np.ndarray]]):
    """An item of random crops for every track, the same every time."""

    def __init__(self, crops: RandomCrops) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, track: int) -> dict[str, np.ndarray]:
        return self.crops[track, track] | {"window": np.asarray(track)}


class Windows(_Crops):
    """Fixed windows of every track. Items hold `window`, their number, besides.

    Args:
        plan: Where they lie in a track.
        features, ids, targets, extra, hop, frames: As of `_Crops`.
    """

    def __init__(
        self,
        features: Rows,
        ids: Sequence[str],
        targets: Targets | None,
        plan: Plan,
        extra: Mapping[str, Targets] | None = None,
        hop: int = 1,
        frames: int | None = None,
    ) -> None:
        super().__init__(features, ids, targets, plan.length, extra, hop, frames, behind=plan.align > 0)
        lengths = [features.length(identity) for identity in ids]
        self.windows = [(track, start, rows) for track, rows in enumerate(lengths) for start in plan.starts(rows)]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        return self._item(*self.windows[number], self.length) | {"window": np.asarray(number)}
