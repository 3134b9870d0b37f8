"""Bars of beats that are already known, with changes of metre: the second stage of decoding.

From beat to beat, a hidden Markov model of bars, as Krebs, Böck and Widmer use it after a beat tracker ("Downbeat
Tracking Using Beat-Synchronous Features and Recurrent Neural Networks", ISMIR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.rhythm.observations import IMPOSSIBLE, SMALLEST

# Published are 1e-7 and 100, for activations made for single beats. What a network says of frames is less certain, and
# a weight favours short bars by its logarithm for every bar: with 100 three beats were found in most music in four.
METRE_CHANGE = 1e-3
OBSERVATION_WEIGHT = 4.0


def bar_positions(
    downbeat: np.ndarray,
    bars: Mapping[int, float],
    *,
    metre_change: float = METRE_CHANGE,
    observation_weight: float = OBSERVATION_WEIGHT,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Position of every beat in its bar.

    Args:
        downbeat: Probability that each beat is a downbeat, `[beats]`.
        bars: Beats of a bar, and the log prior of starting with, or changing to, such bars.
        metre_change: Probability that a bar is followed by one of another length.
        observation_weight: The density of a beat that is no downbeat is that of none, divided by this minus 1.
        known: Which beats are downbeats for certain, bool `[beats]`.

    Returns:
        Positions from 1, int64 `[beats]`, and the log probability of path and observations.
    """
    lengths = np.array(sorted(bars))
    ends = np.cumsum(lengths) - 1
    firsts = ends - lengths + 1
    states = int(lengths.sum())
    others = len(lengths) - 1
    priors = np.array([bars[length] for length in lengths], np.float64)
    stay, leave = (np.log1p(-metre_change), np.log(metre_change / others)) if others else (0.0, -np.inf)
    from_ends = np.where(np.eye(len(lengths), dtype=bool), stay, leave + priors)  # [from, to]
    probability = np.clip(np.asarray(downbeat, np.float64), SMALLEST, 1 - SMALLEST)
    heard, unheard = np.log(probability), np.log((1 - probability) / (observation_weight - 1))
    if known is not None:
        unheard[known] = -IMPOSSIBLE
    scores = np.repeat(priors, lengths) - np.log(states)
    came_from = np.tile(np.arange(states) - 1, (len(probability), 1))
    for beat in range(len(probability)):
        ways = scores[ends][:, None] + from_ends
        best = ways.argmax(0)
        came_from[beat, firsts] = ends[best]
        scores = np.roll(scores, 1) + unheard[beat]
        scores[firsts] = ways[best, np.arange(len(lengths))] + heard[beat]
    state = int(scores.argmax())
    path = np.zeros(len(probability), np.int64)
    for beat in range(len(probability) - 1, -1, -1):
        path[beat] = state
        state = int(came_from[beat, state])
    position = np.concatenate([np.arange(length) for length in lengths]) + 1
    return position[path], float(scores.max())
