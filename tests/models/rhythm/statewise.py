"""The bar-pointer model written out: every state, every transition, frame by frame. Slow, and nothing to get wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class States:
    """States of a bar, in their order: beat of the bar, interval, frame inside the interval."""

    beats: np.ndarray
    intervals: np.ndarray
    places: np.ndarray
    log_transitions: np.ndarray  # [from, to]
    widths: np.ndarray

    @property
    def heard(self) -> np.ndarray:
        return self.places < self.widths


def states(intervals, beats: int, lambdas, observation_lambda: float = 16.0) -> States:
    """Args: intervals in frames; beats of a bar; lambda of the transition into each beat."""
    every = [(beat, int(i), k) for beat in range(beats) for i in intervals for k in range(i)]
    number = {state: n for n, state in enumerate(every)}
    log_transitions = np.full((len(every), len(every)), -np.inf)
    for beat, i, k in every:
        here = number[beat, i, k]
        if k < i - 1:
            log_transitions[here, number[beat, i, k + 1]] = 0.0
            continue
        following = (beat + 1) % beats
        strength = lambdas[following]
        if strength is None:
            log_transitions[here, number[following, i, 0]] = 0.0
            continue
        weights = {int(j): math.exp(-strength * abs(j / i - 1)) for j in intervals}
        weights = {j: weight for j, weight in weights.items() if weight > 2.220446049250313e-16}
        for j, weight in weights.items():
            log_transitions[here, number[following, j, 0]] = math.log(weight / sum(weights.values()))
    beat, interval, place = (np.array(column) for column in zip(*every, strict=True))
    # the position inside the beat lies in its first part
    heard = {i: sum(k * observation_lambda < i for k in range(i)) for i in map(int, intervals)}
    widths = np.array([heard[i] for i in interval])
    return States(beat, interval, place, log_transitions, widths)


def densities(model: States, downbeat, other, none, observation_lambda: float = 16.0) -> np.ndarray:
    """Log densities `[frames, states]`."""
    logs = np.log(np.stack([downbeat, other, np.asarray(none) / (observation_lambda - 1)]))
    kind = np.where(model.heard, np.minimum(model.beats, 1), 2)
    return logs[kind].T


def viterbi(model: States, log_densities: np.ndarray) -> tuple[np.ndarray, float]:
    """Numbers of the states of the likeliest path `[frames]`, and its log probability."""
    count = len(model.beats)
    scores, back = np.full(count, -math.log(count)), []
    for row in log_densities:
        ways = scores[:, None] + model.log_transitions
        back.append(ways.argmax(0))
        scores = ways.max(0) + row
    path = [int(scores.argmax())]
    for before in reversed(back[1:]):
        path.append(int(before[path[-1]]))
    return np.array(path[::-1]), float(scores.max())


def forward(model: States, log_densities: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Probability of every state given the frames up to each, `[frames, states]`."""
    probabilities, transitions = start / start.sum(), np.exp(model.log_transitions)
    rows = []
    for row in log_densities:
        probabilities = (probabilities @ transitions) * np.exp(row)
        probabilities /= probabilities.sum()
        rows.append(probabilities)
    return np.array(rows)
