"""Scores of beats and downbeats of many recordings: every one apart, their means, and the means of resamples.

What a recording gives no ground to score is left out of a mean, and counted: beats or downbeats that nobody annotated,
or of which none is left after the first five seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from datasets.beats import Beats
from models.rhythm import scores
from models.rhythm.decoded import Decoded

KINDS = ("beat", "downbeat")
PRIMARY = "f1"
COUNTS = ("beats_left_out", "downbeats_left_out", "downbeats_unknown")  # of recordings
COHERENCE = ("tempo_jumps", "repeated_downbeats")
METRICS = tuple(f"{kind}_{metric}" for kind in KINDS for metric in scores.METRICS)
PANELS = {  # of the curves of a training
    "F-measure": (PRIMARY, *(f"{kind}_f1" for kind in KINDS)),
    **{f"continuity of {kind}s": (f"{kind}_cmlt", f"{kind}_amlt") for kind in KINDS},
}
ERRORS = tuple(f"{kind}_error" for kind in KINDS)

Table = Mapping[str, np.ndarray]


def score_decoded(decoded: Sequence[Decoded], references: Sequence[Beats], durations: Sequence[float]) -> Table:
    """Every metric of every recording.

    Args:
        decoded: Estimates.
        references: Annotations.
        durations: Of the recordings, seconds.

    Returns:
        float64 `[recordings]` by metric, NaN where there is nothing to score: `beat_METRIC` and `downbeat_METRIC` of
        `scores.agreement`; of the estimate alone, `tempo_jumps` and `repeated_downbeats`; and, 1 where it is so,
        `beats_left_out` and `downbeats_left_out` (no annotated one after the first five seconds), and
        `downbeats_unknown` (nobody annotated any).
    """
    rows = [_row(*one) for one in zip(decoded, references, durations, strict=True)]
    names = (*METRICS, *ERRORS, *COHERENCE, *COUNTS)
    return {name: np.array([row.get(name, math.nan) for row in rows], np.float64) for name in names}


def means_over_tracks(table: Table) -> dict[str, float]:
    """Means of what can be scored, the median of the errors, and counts.

    Returns:
        The metrics of the table; `f1`, the mean of `beat_f1` and, where there is one, `downbeat_f1`; `n_items`, and
        how many recordings `n_beats_left_out`, `n_downbeats_left_out` and `n_downbeats_unknown` are true of. What no
        recording has is absent.
    """
    known = {name: table[name][np.isfinite(table[name])] for name in (*METRICS, *ERRORS, *COHERENCE)}
    means = {name: float(np.mean(values)) for name, values in known.items() if len(values) and name not in ERRORS}
    means |= {name: float(np.median(known[name])) for name in ERRORS if len(known[name])}
    if "beat_f1" in means:
        means = {PRIMARY: _primary(means), **means}
    counts = {f"n_{name}": float(table[name].sum()) for name in COUNTS}
    return {**means, "n_items": float(len(table[COUNTS[0]])), **counts}


def resampled_tracks(table: Table, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The means of `means_over_tracks` under weightings of the recordings.

    Args:
        table: Of `score_decoded`.
        weights: `[resamples, recordings]`, how often each resample holds each recording.

    Returns:
        `[resamples]` by metric, NaN where a resample has nothing to score; without the errors, which are medians.
    """
    drawn, found = np.asarray(weights, np.float64), {}
    for name in (*METRICS, *COHERENCE):
        known = np.isfinite(table[name])
        if known.any():
            total = drawn @ known.astype(np.float64)
            found[name] = np.where(total > 0, drawn @ np.where(known, table[name], 0) / np.maximum(total, 1), math.nan)
    return {PRIMARY: _primary(found), **found} if "beat_f1" in found else found


def selected(table: Table, rows: np.ndarray) -> Table:
    """The table of some recordings, by numbers or booleans."""
    return {name: values[rows] for name, values in table.items()}


def _primary(means: Mapping[str, float]) -> float:
    return (means["beat_f1"] + means["downbeat_f1"]) / 2 if "downbeat_f1" in means else means["beat_f1"]


def _row(decoded: Decoded, reference: Beats, duration: float) -> dict[str, float]:
    row: dict[str, float] = {
        "tempo_jumps": float(scores.tempo_jumps(decoded.times)),
        "repeated_downbeats": float(scores.repeated_downbeats(decoded.positions)),
        **dict.fromkeys(COUNTS, 0.0),
        "downbeats_unknown": float(not reference.has_downbeats),
    }
    annotated, estimated = (reference.times, reference.downbeats), (decoded.times, decoded.downbeats)
    for kind, theirs, ours in zip(KINDS, annotated, estimated, strict=True):
        if kind == "downbeat" and not reference.has_downbeats:
            continue
        theirs, ours = scores.trimmed(theirs, duration), scores.trimmed(ours, duration)
        if not len(theirs):
            row[f"{kind}s_left_out"] = 1.0
            continue
        row |= {f"{kind}_{metric}": value for metric, value in scores.agreement(theirs, ours).items()}
    return row
