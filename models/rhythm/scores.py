"""How well estimated beats of one recording agree with annotated ones: mir_eval's metrics, and what they do not tell.

Both are compared from five seconds on, as is usual. The F-measure has a window of 70 ms whatever the tempo; continuity
has one of 17.5 % of the local interval. A constant delay of 80 ms therefore leaves continuity at 1 and the F-measure at
0, which the median error tells.
"""

from __future__ import annotations

import math

import numpy as np

TRIMMED = 5.0  # seconds at the beginning that do not count
WINDOW = 0.07  # seconds, of the F-measure
TOLERANCE = 0.175  # of an interval, of continuity
SPREAD = 0.04  # seconds, of Cemgil's accuracy
LATEST = 30_000.0  # seconds; mir_eval refuses what is later
JUMP = (math.log2(1.5), math.log2(3.0))  # octaves by which the tempo doubles or halves from one interval to the next
METRICS = ("f1", "cmlc", "cmlt", "amlc", "amlt", "cemgil")


def trimmed(times: np.ndarray, duration: float, trim: float = TRIMMED) -> np.ndarray:
    """Times from `trim` seconds on; all of a recording that is no longer than that."""
    return times[times >= trim] if duration > trim else times


def agreement(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """The metrics of one recording.

    Args:
        reference: Annotated times, seconds, ascending, one at least.
        estimate: Estimated times, ascending; perhaps none.

    Returns:
        `f1`, `cmlc`, `cmlt`, `amlc`, `amlt`, `cemgil` (at the annotated metrical level), and `error`: estimated minus
        annotated time, seconds, the median over estimates within `TOLERANCE` of the median interval, NaN where there
        are none.
    """
    from mir_eval import beat

    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if not len(estimate):
        return {**dict.fromkeys(METRICS, 0.0), "error": math.nan}
    last = max(reference[-1], estimate[-1])
    unit = min(1.0, LATEST / last) if last > 0 else 1.0  # a long recording in a longer unit of time
    ours, theirs = estimate * unit, reference * unit
    several = min(len(reference), len(estimate)) > 1  # continuity is about intervals
    continuity = beat.continuity(theirs, ours, TOLERANCE, TOLERANCE) if several else (0.0,) * 4
    values = (beat.f_measure(theirs, ours, WINDOW * unit), *continuity, _cemgil(reference, estimate))
    return {**dict(zip(METRICS, map(float, values), strict=True)), "error": _median_error(reference, estimate)}


def _cemgil(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Cemgil's accuracy at the annotated level alone; mir_eval computes four others with it, one beat after another."""
    after = np.searchsorted(estimate, reference).clip(1, len(estimate) - 1) if len(estimate) > 1 else 0
    errors = np.minimum(np.abs(estimate[after] - reference), np.abs(estimate[after - 1] - reference))
    return float(np.exp(-(errors**2) / (2 * SPREAD**2)).sum() / (0.5 * (len(reference) + len(estimate))))


def _median_error(reference: np.ndarray, estimate: np.ndarray) -> float:
    """The median of estimated minus annotated time over pairs, NaN where there are none."""
    from mir_eval.util import match_events

    window = max(WINDOW, TOLERANCE * float(np.median(np.diff(reference)))) if len(reference) > 1 else WINDOW
    pairs = np.array(match_events(reference, estimate, window), np.int64).reshape(-1, 2)
    return float(np.median(estimate[pairs[:, 1]] - reference[pairs[:, 0]])) if len(pairs) else math.nan


def tempo_jumps(times: np.ndarray) -> int:
    """How often the tempo doubles or halves from one interval between beats to the next."""
    if len(times) < 3:
        return 0
    octaves = np.abs(np.diff(np.log2(np.diff(times))))
    return int(((octaves >= JUMP[0]) & (octaves <= JUMP[1])).sum())


def repeated_downbeats(positions: np.ndarray) -> int:
    """How often a downbeat follows on a downbeat, with no beat between them; positions count from 1."""
    return int(((positions[1:] == 1) & (positions[:-1] == 1)).sum())
