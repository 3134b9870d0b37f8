"""Tempi as targets: they change with the speed at which a crop is played."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from datasets.targets import ClipTargets, any_rate


class TempoTargets(ClipTargets):
    """One tempo a track.

    Args:
        array: BPM, `[tracks]`.
        slowest: A change of speed does not lead below it, BPM.
        fastest: Nor above this.
    """

    def __init__(self, array: np.ndarray, slowest: float, fastest: float) -> None:
        super().__init__(array)
        self.slowest, self.fastest = slowest, fastest

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """`target`: the track's tempo, so many times faster."""
        tempo = self.whole(track)
        return {"target": tempo if rate == 1.0 else (tempo * rate).astype(tempo.dtype)}

    def draw_rate(self, track: int, low: float, high: float, rng: np.random.Generator) -> float:
        """How many times faster a crop is played, between `low` and `high`, every ratio being as likely as its inverse.

        Drawn from what leaves the tempo between the slowest and the fastest, as drawing again would do. A track that is
        beyond them however it is played stays as it is, as near as `low` and `high` allow.
        """
        tempo = float(self.whole(track))
        least, most = max(low, self.slowest / tempo), min(high, self.fastest / tempo)
        if least > most:
            return min(max(1.0, low), high)
        return any_rate(least, most, rng)
