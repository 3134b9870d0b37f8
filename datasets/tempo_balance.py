"""Which tempo is trained on how often: by bins of equal weight, or by speeds that give tempi a distribution.

Annotated corpora crowd between 100 and 130 BPM, and a network that has seen little else finds such tempi everywhere.
Rendered or collected music may be slower or faster than what people listen to, and a network that has learned which
tempi are likely of it takes half or double of the tempo.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from datasets.targets import Targets

BIN = 10.0  # BPM
FEWEST = 5  # tracks: a bin with fewer weighs as one with so many
SLOWEST, FASTEST = 40.0, 250.0  # BPM between which tempi are spread
PLACES = 1024  # tempi that are told apart when they are spread
TYPICAL, SPREAD = 113.0, 0.47  # BPM and octaves: geometric mean and deviation of the annotated tempi of GTZAN


def bin_weights(tempi: np.ndarray) -> np.ndarray:
    """Sampling weights by which all ranges of 10 BPM with enough tracks are drawn equally often.

    Args:
        tempi: BPM, `[tracks]`.

    Returns:
        `[tracks]` float64, one over the number of tracks in the same range, which counts as 5 at least.
    """
    _, numbers, counts = np.unique(np.floor(tempi / BIN), return_inverse=True, return_counts=True)
    return 1.0 / np.maximum(counts, FEWEST)[numbers]


class SpreadTempi:
    """Tracks and speeds whose tempi are uniform in their logarithm, or normally distributed as in music at large.

    A tempo is drawn, and one of the tracks that can be played at it; here the other way round, with the same outcome: a
    track by its weight, then one of the tempi that it reaches.

    Args:
        tempi: BPM, `[tracks]`.
        low, high: Speeds between which a track can be played; above 1 is faster.
        typical: Normally distributed.

    Attributes:
        weights: Of the tracks, `[tracks]`; zero for one that reaches nothing between 40 and 250 BPM.
    """

    def __init__(self, tempi: np.ndarray, low: float, high: float, typical: bool = False) -> None:
        self.logarithms = np.log(np.asarray(tempi, np.float64))
        self.low, self.high = low, high
        edges = np.linspace(np.log(SLOWEST), np.log(FASTEST), PLACES + 1)
        self.step, self.places = edges[1] - edges[0], (edges[:-1] + edges[1:]) / 2
        self.first = np.searchsorted(self.places, self.logarithms + np.log(low))
        self.end = np.searchsorted(self.places, self.logarithms + np.log(high), side="right")
        changes = np.bincount(self.first, minlength=PLACES + 1) - np.bincount(self.end, minlength=PLACES + 1)
        reaching = np.cumsum(changes)[:PLACES]  # tracks that reach each place
        octaves = (self.places - np.log(TYPICAL)) / np.log(2)
        density = np.exp(-0.5 * (octaves / SPREAD) ** 2) if typical else np.ones(PLACES)
        shares = np.divide(density, reaching, out=np.zeros(PLACES), where=reaching > 0)
        self.shares = np.concatenate([[0.0], np.cumsum(shares)])
        self.weights = self.shares[self.end] - self.shares[self.first]

    def rate(self, track: int, rng: np.random.Generator) -> float:
        """A speed for a track that was drawn by its weight."""
        drawn = rng.uniform(self.shares[self.first[track]], self.shares[self.end[track]])
        place = min(np.searchsorted(self.shares, drawn, side="right") - 1, PLACES - 1)
        tempo = self.places[place] + self.step * rng.uniform(-0.5, 0.5)
        return float(np.clip(np.exp(tempo - self.logarithms[track]), self.low, self.high))


class SpreadTargets(Targets):
    """Targets of tracks whose crops are played at the speeds of `SpreadTempi`.

    Args:
        targets: Of the tracks, as they are.
        tempi: Of the same tracks.
    """

    def __init__(self, targets: Targets, tempi: SpreadTempi) -> None:
        self.targets, self.tempi = targets, tempi

    def __len__(self) -> int:
        return len(self.targets)

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """Those of the track."""
        return self.targets.crop(track, start, frames, rate)

    def whole(self, track: int) -> np.ndarray:
        """That of the track."""
        return self.targets.whole(track)

    def draw_rate(self, track: int, low: float, high: float, rng: np.random.Generator) -> float:
        """By which tempi are spread."""
        return self.tempi.rate(track, rng)
