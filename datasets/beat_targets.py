"""What crops are trained against where beats are wanted: a value a step of the network for each of two curves.

The first column is about any beat, the second about downbeats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from datasets.beats import Beats
from datasets.targets import Targets
from datasets.time_grid import TimeGrid

SHOULDER = 0.5  # of a widened target, on both sides of a beat (Davies and Böck, EUSIPCO 2019)


class BeatTargets(Targets):
    """Targets on the steps of a network; beats themselves stay as they are annotated, for scores.

    Args:
        beats: Of every track.
        grid: When the network gives its outputs.
        widened: Whether the steps beside a beat are half of one.
    """

    def __init__(self, beats: Sequence[Beats], grid: TimeGrid, widened: bool = False) -> None:
        self.beats, self.grid, self.widened = beats, grid, widened

    def __len__(self) -> int:
        return len(self.beats)

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """`target [steps, 2]` and `mask [steps, 2]`, float32.

        Masked are steps before the track begins, and the downbeats of a track of whose bars nothing is known.
        """
        beats, steps = self.beats[track], self.grid.steps(frames)
        target = np.zeros((steps, 2), np.float32)
        for column, times in enumerate((beats.times, beats.downbeats)):
            self._mark(target[:, column], (times - start / self.grid.frame_rate) / rate)
        mask = np.ones((steps, 2), np.float32)
        mask[: max(0, round(-start / rate / self.grid.pool))] = 0
        mask[:, 1] *= beats.has_downbeats
        return {"target": target, "mask": mask}

    def without_padding(self, crop: Mapping[str, np.ndarray], frames: float) -> Mapping[str, np.ndarray]:
        """The same with the steps behind the end of the track masked."""
        mask = crop["mask"]
        mask[math.ceil(frames / self.grid.pool) :] = 0
        return {**crop, "mask": mask}

    def whole(self, track: int) -> Beats:
        """The beats of the track, at the times they were annotated at."""
        return self.beats[track]

    def _mark(self, curve: np.ndarray, times: np.ndarray) -> None:
        """Set the steps nearest to times in the crop; those of neighbours outside of it widen into it."""
        places = self.grid.nearest(times)
        if self.widened:
            for beside in (places - 1, places + 1):
                curve[beside[(beside >= 0) & (beside < len(curve))]] = SHOULDER
        curve[places[(places >= 0) & (places < len(curve))]] = 1
