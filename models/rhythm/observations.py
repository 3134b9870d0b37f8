"""What the bar-pointer model makes of activations: densities of a downbeat, another beat, and no beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALLEST = 1e-5  # probabilities are kept so far from 0 and 1, so that no single frame forbids a path
IMPOSSIBLE = 1e7  # nats, more than a recording of hours gains elsewhere by leaving out a known beat


@dataclass(frozen=True, eq=False)
class Evidence:
    """Log densities of frames, as running sums.

    Attributes:
        gains: Sums up to each frame of the log density of a downbeat, and of another beat, over that of no beat,
            float64 `[2, frames + 1]`.
        nothing: Sum over all frames of the log density of no beat.
    """

    gains: np.ndarray
    nothing: float

    @property
    def frames(self) -> int:
        """Their number."""
        return self.gains.shape[1] - 1


def within(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities, neither near 0 nor near 1."""
    return np.clip(probabilities, SMALLEST, 1 - SMALLEST)


def exclusive(beat: np.ndarray, downbeat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From any beat and downbeat to downbeat and another beat, which exclude each other.

    Args:
        beat: Probability of any beat, downbeats included, `[frames]`.
        downbeat: Probability of a downbeat `[frames]`.

    Returns:
        Downbeat and beat that is none, float64 `[frames]` each, neither near 0 or 1, nor is what is left for no beat.
    """
    down, other = within(downbeat), within(beat - downbeat)
    total = down + other
    scale = np.where(total > 1 - SMALLEST, (1 - SMALLEST) / total, 1.0)
    return down * scale, other * scale


def evidence(downbeat: np.ndarray, other: np.ndarray, observation_lambda: float = 16.0) -> Evidence:
    """Log densities of downbeats and other beats.

    Args:
        downbeat: Probability of a downbeat `[frames]`.
        other: Probability of a beat that is none `[frames]`.
        observation_lambda: A beat is heard in the first of so many parts of its interval.
    """
    return _summed(downbeat, other, 1 - other - downbeat, observation_lambda)


def beat_evidence(beat: np.ndarray, observation_lambda: float = 16.0) -> Evidence:
    """Log densities where nothing is known of downbeats.

    Args:
        beat: Probability of a beat `[frames]`.
        observation_lambda: A beat is heard in the first of so many parts of its interval.
    """
    return _summed(beat, beat, 1 - beat, observation_lambda)


def _summed(downbeat: np.ndarray, other: np.ndarray, none: np.ndarray, observation_lambda: float) -> Evidence:
    nothing = np.log(none / (observation_lambda - 1))
    gains = np.zeros((2, len(nothing) + 1))
    for row, beat in zip(gains, (downbeat, other), strict=True):
        np.cumsum(np.log(beat) - nothing, out=row[1:])
    return Evidence(gains, float(nothing.sum()))
