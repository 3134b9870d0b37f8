"""Inner loops of the bar-pointer decoders, and the types of their arguments: `models.machine_code` compiles them."""

from __future__ import annotations

import numpy as np

ADVANCE = (
    "void(float64[:,:,::1], int64, int64, int64[::1], int64[::1], int64[:,::1], int64[:,::1], float64[:,:,::1], "
    "float64[:,::1], int64)"
)
BACK = (
    "int64(float64[:,:,::1], int64, int64, int64[::1], int64[:,::1], int64[:,::1], float64[:,:,::1], int64[:,::1], "
    "int64)"
)
FORWARD = (
    "void(float64[::1], int64[:,::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[:,::1], int64[:,::1], "
    "float64[:,:,::1], float64[:,::1], int64, int64[::1])"
)
ABREAST = 32  # frames computed side by side at most: their entries stay in the processor's first cache
# Of what the forward algorithm stores, far from where doubles lose digits or overflow. No state ever dies out: bars of
# another length come back when the metre changes.
LOWEST, HIGHEST = 1e-200, 1e100


def advance(scores, start, count, intervals, widths, first, last, log_transitions, gains, frame):
    """Best scores of entering a beat, for frames one behind the other.

    A beat of interval i depends on what was at least i frames ago. So as many frames as the shortest interval has are
    computed side by side: the inner loops run over them, without gathering and without branches.

    Args:
        scores: `[beats of a bar, intervals, frames]`: best score of a path up to the beats' frames of that beat,
            relative to a path without beats. Columns before `start` are given, the `count` next ones are written.
        start: Column of the first frame to compute; at least the longest interval.
        count: Frames to compute.
        intervals: Frames `[intervals]`, ascending.
        widths: Frames of each at the beginning of which the beat is heard, `[intervals]`.
        first: The first interval that a beat may come from, `[beats, intervals]`.
        last: One behind the last.
        log_transitions: `[beats, to, from]`, into each beat.
        gains: Sums up to each frame of log density of a beat over that of none, `[downbeat or other, frames + 1]`.
        frame: Column of `gains` of the frame at `start`.
    """
    beats, n, _ = scores.shape
    end = gains.shape[1] - 1
    step = min(intervals[0], ABREAST)
    entries, best = np.empty((n, step)), np.empty(step)
    for column in range(start, start + count, step):
        width = min(step, start + count - column)
        now = frame + column - start
        for beat in range(beats):
            before = beat - 1 if beat else beats - 1
            kind = 0 if beat == 0 else 1
            for i in range(n):
                source = column - intervals[i]
                for t in range(width):
                    entries[i, t] = scores[before, i, source + t]
            for j in range(n):
                i = first[beat, j]
                p = log_transitions[beat, j, i]
                for t in range(width):
                    best[t] = entries[i, t] + p
                i += 1
                while i + 4 <= last[beat, j]:
                    p = log_transitions[beat, j, i]
                    p1, p2 = log_transitions[beat, j, i + 1], log_transitions[beat, j, i + 2]
                    p3 = log_transitions[beat, j, i + 3]
                    for t in range(width):
                        x, x1 = entries[i, t] + p, entries[i + 1, t] + p1
                        x2, x3 = entries[i + 2, t] + p2, entries[i + 3, t] + p3
                        x = x if x > x1 else x1
                        x2 = x2 if x2 > x3 else x3
                        x = x if x > x2 else x2
                        best[t] = x if x > best[t] else best[t]
                    i += 4
                while i < last[beat, j]:
                    p = log_transitions[beat, j, i]
                    for t in range(width):
                        x = entries[i, t] + p
                        best[t] = x if x > best[t] else best[t]
                    i += 1
                for t in range(width):
                    heard = min(now + t + widths[j], end)
                    scores[beat, j, column + t] = best[t] + (gains[kind, heard] - gains[kind, now + t])


def back(scores, offset, stop, intervals, first, last, log_transitions, entries, known):
    """Follow a path backwards, from entry to entry, until it enters a beat before a frame.

    Args:
        scores: As `advance` left them.
        offset: Frame of their first column.
        stop: That frame; the longest interval before it is in `scores`.
        intervals: Frames `[intervals]`.
        first: The first interval that a beat may come from, `[beats, intervals]`.
        last: One behind the last.
        log_transitions: `[beats, to, from]`, into each beat.
        entries: Frame, beat and number of the interval, latest first, `[entries, 3]`; written behind those known.
        known: Row of the earliest one known.

    Returns:
        Row of the earliest one.
    """
    beats = len(log_transitions)
    frame, beat, number = entries[known, 0], entries[known, 1], entries[known, 2]
    while frame >= stop:
        before = beat - 1 if beat else beats - 1
        best, chosen = -np.inf, first[beat, number]
        for i in range(first[beat, number], last[beat, number]):
            score = scores[before, i, frame - intervals[i] - offset] + log_transitions[beat, number, i]
            if score > best:
                best, chosen = score, i
        frame, beat, number = frame - intervals[chosen], before, chosen
        known += 1
        entries[known, 0], entries[known, 1], entries[known, 2] = frame, beat, number
    return known


def forward(state, starts, before, kinds, intervals, widths, first, last, transitions, ratios, frame, found):
    """Probabilities of all states after each of some frames, up to a factor, and the likeliest one.

    The states of an interval lie in a ring: who entered it at frame s is at place s modulo the interval, for as long
    as the beat lasts. So nothing has to be moved.

    Args:
        state: `[states]`, changed in place.
        starts: Place of the ring of each beat and interval, `[beats, intervals]`.
        before: The beat before each, `[beats]`.
        kinds: 0 for a downbeat, 1 for another beat, `[beats]`.
        intervals: Frames `[intervals]`, ascending.
        widths: Frames of each at the beginning of which the beat is heard, `[intervals]`.
        first: The first interval that a beat may come from, `[beats, intervals]`.
        last: One behind the last.
        transitions: `[beats, to, from]`, into each beat.
        ratios: Density of a beat over that of none, `[frames, downbeat or other]`.
        frame: Number of the first of these frames.
        found: Beat that is heard in the likeliest state of each frame, -1 for none, `[frames]`; written.
    """
    beats, n = starts.shape
    leaving = np.empty((beats, n))
    for row in range(len(found)):
        now = frame + row
        for beat in range(beats):
            for i in range(n):
                leaving[beat, i] = state[starts[beat, i] + now % intervals[i]]
        for beat in range(beats):
            for j in range(n):
                entering = LOWEST
                for i in range(first[beat, j], last[beat, j]):
                    entering += leaving[before[beat], i] * transitions[beat, j, i]
                state[starts[beat, j] + now % intervals[j]] = entering
                for k in range(widths[j]):
                    state[starts[beat, j] + (now - k) % intervals[j]] *= ratios[row, kinds[beat]]
        highest = -1.0
        for beat in range(beats):
            for i in range(n):
                ring, length, place = starts[beat, i], intervals[i], now % intervals[i]
                for k in range(length):
                    value = state[ring + (place - k if k <= place else place - k + length)]
                    if value > highest:
                        highest = value
                        found[row] = beat if k < widths[i] else -1
        if highest > HIGHEST or highest < 1 / HIGHEST:
            for place in range(len(state)):
                state[place] = max(state[place] / highest, LOWEST)
