"""Which track comes next in training: balanced over classes, the same for any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

CLASS_OFFSET = 100.0  # `sample_weight_offset` of MAEST and PaSST: keeps a class of one track from filling the epoch


def balanced_weights(targets: np.ndarray, offset: float = CLASS_OFFSET, total: bool = True) -> np.ndarray:
    """Sampling weights that favour tracks with rare classes (PaSST, arXiv 2110.05069, section 4.1).

    A class on `n` tracks weighs `1000 / (n + offset)`; a track weighs the sum (or the maximum) over its classes.

    Args:
        targets: `[tracks, classes]` multi-hot; or `[tracks]`, numbers of classes or values to be rounded to such.
        offset: Added to every class count.
        total: Sum over a track's classes; the largest one otherwise.

    Returns:
        `[tracks]` float64; zero for a track without classes.
    """
    present = targets > 0.5 if targets.ndim > 1 else targets[:, None].round() == np.unique(targets.round())
    class_weights = 1000.0 / (present.sum(axis=0) + offset)
    weighted = present * class_weights
    return weighted.sum(axis=1) if total else weighted.max(axis=1, initial=0.0)


def time_weights(rows: Sequence[int], corpora: Sequence[str] = (), temperature: float = 1.0) -> np.ndarray:
    """Sampling weights by which all of the time of a corpus is drawn alike, whatever the lengths of its tracks.

    Args:
        rows: Of every track.
        corpora: Which corpus each is of; empty: one.
        temperature: A corpus with a share `s` of the time gets one in proportion to `s ** (1 / temperature)`: 1: that
            share, the larger, the more alike all corpora are.

    Returns:
        `[tracks]` float64.
    """
    weights = np.asarray(rows, np.float64)
    if not len(corpora):
        return weights
    _, numbers = np.unique(np.asarray(corpora), return_inverse=True)
    times = np.bincount(numbers, weights)
    return weights * (times ** (1 / temperature - 1))[numbers]


class EpochSampler(Sampler[tuple[int, int]]):
    """Draws of one epoch, split evenly over ranks.

    Every rank draws the same list from `seed` and the epoch and takes every `world_size`-th entry from its rank on; the
    list is padded by its own start so that all ranks get equally many. Each draw is a pair of a track number and a seed
    for what is random about that draw (its crop), so that neither workers nor ranks change what is drawn.

    Args:
        weights: `[tracks]`; larger ones are drawn more often, zero never.
        draws: Draws per epoch over all ranks; without replacement at most one per track of positive weight.
        replace: Draw with replacement.
        seed: Of the run.
        rank: This process, counted over all nodes.
        world_size: Number of processes on all nodes.

    Raises:
        ValueError: No track has a positive weight.
    """

    def __init__(
        self, weights: np.ndarray, draws: int, replace: bool = False, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.drawable = np.flatnonzero(weights > 0)
        if not len(self.drawable):
            raise ValueError("no track has a positive sampling weight: are there labels in the training split?")
        self.probabilities = weights[self.drawable] / weights[self.drawable].sum()
        self.draws = draws if replace else min(draws, len(self.drawable))
        self.replace, self.seed, self.rank, self.world_size = replace, seed, rank, world_size
        self.epoch = self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws iteration gives."""
        self.epoch = epoch

    def skip(self, draws: int) -> None:
        """Leave out this rank's first draws at the next iteration, and at that one only: an epoch that goes on."""
        self.skipped = draws

    def __len__(self) -> int:
        return -(-self.draws // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        if self.replace:
            drawn = generator.choice(self.drawable, self.draws, p=self.probabilities)
        else:
            # Efraimidis-Spirakis: the smallest exponential clocks are a weighted draw without replacement, in order.
            clocks = generator.exponential(size=len(self.drawable)) / self.probabilities
            drawn = self.drawable[np.argsort(clocks, kind="stable")[: self.draws]]
        seeds = generator.integers(2**62, size=len(drawn))
        padded = np.resize(np.arange(len(drawn)), len(self) * self.world_size)
        skipped, self.skipped = self.skipped, 0
        for draw in padded[self.rank :: self.world_size][skipped:]:
            yield int(drawn[draw]), int(seeds[draw])


class EvenShare(Sampler[int]):
    """One rank's share of a list, padded by the list's own start so that all ranks get equally many."""

    def __init__(self, size: int, rank: int, world_size: int) -> None:
        self.share = np.resize(np.arange(size), -(-size // world_size) * world_size)[rank::world_size]

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share.tolist())
