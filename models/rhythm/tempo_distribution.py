"""From probabilities of tempi to one tempo, a second one, and how sure both are.

Decoding as Schreiber and Müller have it ("A single-step approach to musical tempo estimation using a convolutional
neural network", ISMIR 2018): the highest peak, and the highest one besides, as much music is heard at two speeds. A
parabola through the logarithms of a peak and its neighbours, exact for a bell, places it between the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 0.04  # of a tempo, within which another one is the same
SUPPRESSED = 5  # classes on either side of the first peak, in which the second one is not looked for
LEAST = 1e-3  # of the height of the first peak: what is lower is no second one
FLOOR = 1e-9  # of a peak's height, for the logarithm of a probability of 0
MIDDLE = 120.0  # BPM: music that seems faster is more often heard at half the tempo than at twice


@dataclass(frozen=True, slots=True)
class TempoEstimate:
    """The tempo of a recording, or of a window.

    Attributes:
        tempo: BPM.
        second: The next best one, BPM; an octave away where there is no other.
        salience: Share of the first in the heights of both, 0.5..1; None where tempi have no probabilities.
        confidence: Probability of a tempo within 4 % of the first, 0..1; None where nothing tells it.
    """

    tempo: float
    second: float
    salience: float | None
    confidence: float | None


def between_classes(probabilities: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Where the peaks lie, in classes: `[items, n]` and their numbers `[items]` to float64 `[items]`.

    A peak moves by half a class at most; one at either end stays.
    """
    padded = np.pad(np.asarray(probabilities, np.float64), ((0, 0), (1, 1)))
    around = np.take_along_axis(padded, np.asarray(peaks)[:, None] + np.arange(3), axis=1)
    height = np.maximum(around[:, 1:2], np.finfo(np.float64).tiny)
    before, top, after = np.log(np.maximum(around / height, FLOOR)).T
    curvature = before - 2 * top + after
    inside = (peaks > 0) & (peaks < probabilities.shape[1] - 1) & (curvature < 0)
    shift = np.divide(before - after, 2 * curvature, out=np.zeros(len(peaks)), where=inside)
    return peaks + np.clip(shift, -0.5, 0.5)


def estimate(
    probabilities: np.ndarray, slowest: float, low: float | None = None, high: float | None = None
) -> TempoEstimate:
    """Decode probabilities of tempi that are 1 BPM apart.

    Args:
        probabilities: `[n]`.
        slowest: Tempo of the first class, BPM.
        low: Tempi below it do not count, BPM.
        high: Tempi above it do not count.

    Raises:
        ValueError: No class lies between `low` and `high`.
    """
    tempi = slowest + np.arange(len(probabilities))
    inside = (tempi >= (low or 0)) & (tempi <= (high or np.inf))
    if not inside.any():
        between = f"{low or 0:g} and {high or np.inf:g} BPM"
        raise ValueError(f"no tempo between {between}; those known are {tempi[0]:g} to {tempi[-1]:g} BPM")
    masked = np.where(inside, probabilities, 0.0)
    masked /= max(masked.sum(), np.finfo(np.float64).tiny)
    first = int(np.where(inside, probabilities, -1.0).argmax())
    second = _second_peak(masked, first)
    peaks = np.array([first] if second is None else [first, second])
    places = between_classes(np.broadcast_to(masked, (len(peaks), len(masked))), peaks)
    best, *other = np.clip(slowest + places, low, high).tolist()
    near = np.abs(tempi - best) <= max(TOLERANCE * best, 0.5)
    height = masked[peaks]
    salience = float(height[0] / height.sum()) if height.sum() > 0 else 1.0
    return TempoEstimate(
        best, other[0] if other else octave_of(best, low, high), salience, min(1.0, float(masked[near].sum()))
    )


def estimate_of_values(
    tempo: float, windows: np.ndarray, low: float | None = None, high: float | None = None
) -> TempoEstimate:
    """The same where windows gave tempi, joined to one.

    Args:
        tempo: Of the recording, BPM.
        windows: Of its windows, `[windows]`; the share of several that agrees with `tempo` is the confidence.
        low: Tempi are doubled until they lie above it, BPM.
        high: And halved until they lie below it.
    """
    best = fold(tempo, low, high)
    folded = np.array([fold(one, low, high) for one in np.ravel(windows).tolist()])
    agree = np.abs(folded - best) <= TOLERANCE * best
    return TempoEstimate(best, octave_of(best, low, high), None, float(agree.mean()) if len(agree) > 1 else None)


def octave_of(tempo: float, low: float | None = None, high: float | None = None) -> float:
    """Half of a tempo above 120 BPM, else twice; the other one where only that lies between `low` and `high`."""
    halved_first = (tempo / 2, 2 * tempo) if tempo > MIDDLE else (2 * tempo, tempo / 2)
    inside = [one for one in halved_first if (low or 0) <= one <= (high or np.inf)]
    return inside[0] if inside else halved_first[0]


def fold(tempo: float, low: float | None = None, high: float | None = None) -> float:
    """A tempo halved or doubled until it lies between `low` and `high`, BPM.

    Where a range below an octave has none of these, the nearer end of it. What is no tempo stays as it is.
    """
    if not 0 < tempo < np.inf:
        return tempo
    while high and tempo > high:
        tempo /= 2
    while low and tempo < low:
        tempo *= 2
    if high and tempo > high:  # the range is below an octave: which end is nearer in ratio?
        tempo = high if tempo / high < low / (tempo / 2) else low
    return tempo


def _second_peak(probabilities: np.ndarray, first: int) -> int | None:
    """The highest local maximum that is not near the first; None where there is none worth the name."""
    around = np.pad(probabilities, 1, constant_values=-1.0)
    rising = (probabilities > around[:-2]) & (probabilities >= around[2:])
    rising[max(0, first - SUPPRESSED) : first + SUPPRESSED + 1] = False
    rising &= probabilities >= LEAST * probabilities[first]
    rising &= probabilities > 0
    candidates = np.flatnonzero(rising)
    return int(candidates[probabilities[candidates].argmax()]) if len(candidates) else None
