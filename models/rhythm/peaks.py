"""Beats where the activation has a peak, as Foscarin, Schlüter and Widmer, "Beat This!" (ISMIR 2024), pick them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d

from models.rhythm import positions
from models.rhythm.decoded import Decoded
from models.rhythm.pins import NO_PINS, Pins

ROUNDING = 1e-6  # frames: 0.14 s at 100 frames a second are 14.000000000000002


def pick_peaks(
    activations: np.ndarray,
    rate: float,
    *,
    threshold: float = 0.5,
    window: float = 0.06,
    min_interval: float = 0.0,
    refine: bool = True,
) -> np.ndarray:
    """Frames of the peaks, with fractions, float64 ascending.

    A frame is one if nothing within the window is higher; adjacent ones of one height make one peak, in their middle.

    Args:
        activations: Probabilities `[frames]`.
        rate: Frames a second.
        threshold: Peaks are higher.
        window: Seconds to either side, one frame at least.
        min_interval: Of two peaks that are less seconds apart only the higher one stays; 0: all stay.
        refine: Move a peak of one frame to the top of the parabola through it and its neighbours, less than half a
            frame away.
    """
    reach = max(1, round(window * rate))
    highest = maximum_filter1d(activations, 2 * reach + 1, mode="constant", cval=-np.inf) if len(activations) else []
    frames = np.flatnonzero((activations == highest) & (activations > threshold))
    first = np.flatnonzero(np.diff(frames, prepend=-2) > 1)
    last = np.append(first[1:], len(frames)) - 1
    peaks = (frames[first] + frames[last]) / 2 if len(frames) else np.zeros(0)
    if min_interval > 0:
        peaks = peaks[_apart(peaks, activations[peaks.astype(int)], min_interval * rate - ROUNDING)]
    return refined(activations, peaks) if refine else peaks


def refined(activations: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Frames moved to the top of the parabola through each of them and its neighbours, which both must be lower.

    Args:
        activations: `[frames]`.
        frames: Those to move; what is no whole number, or lies at an end, stays.
    """
    moved = np.array(frames, np.float64)
    whole = np.flatnonzero((moved == np.rint(moved)) & (moved > 0) & (moved < len(activations) - 1))
    middle = moved[whole].astype(np.int64)
    before, top, after = (np.asarray(activations[middle + step], np.float64) for step in (-1, 0, 1))
    sharp = (top > before) & (top > after)
    before, top, after = before[sharp], top[sharp], after[sharp]
    moved[whole[sharp]] += (before - after) / (2 * (before - 2 * top + after))
    return moved


def uphill(activations: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Frames moved to a neighbour that is higher, the higher one of two.

    Args:
        activations: `[frames]`.
        frames: Those to move, int64 `[peaks]`.
    """
    padded = np.pad(activations, 1, constant_values=-np.inf)
    before, here, after = (padded[frames + place] for place in range(3))
    return frames + np.where(np.maximum(before, after) > here, np.where(before > after, -1, 1), 0)


def decode_peaks(
    beat: np.ndarray,
    downbeat: np.ndarray | None,
    rate: float,
    *,
    threshold: float = 0.5,
    downbeat_threshold: float = 0.5,
    window: float = 0.06,
    min_interval: float = 0.0,
    refine: bool = True,
    pins: Pins = NO_PINS,
) -> Decoded:
    """Beats at the peaks of the activation; those nearest to peaks of the downbeats' are downbeats.

    A downbeat with no beat within the window becomes a beat where a downbeat is likelier than no beat at all, and is
    dropped elsewhere. Where there are no beats there are no downbeats.

    Args:
        beat: Probability of any beat, `[frames]`.
        downbeat: Probability of a downbeat `[frames]`; None: positions are not known.
        rate: Frames a second.
        threshold: For beats.
        downbeat_threshold: For downbeats.
        window: See `pick_peaks`.
        min_interval: See `pick_peaks`.
        refine: See `pick_peaks`.
        pins: Known beats; peaks within the window or the least interval of one are none.

    Returns:
        With the first frame at second 0.
    """
    options = {"window": window, "min_interval": min_interval, "refine": refine}
    frames = pick_peaks(beat, rate, threshold=threshold, **options)
    if len(pins):
        apart = np.abs(frames - pins.frames[_nearest(pins.frames, frames)])
        beside = (apart <= window * rate) | (apart < min_interval * rate - ROUNDING)
        frames = np.sort(np.concatenate([frames[~beside], pins.frames]))
    numbers = np.zeros(0, np.int64)
    if downbeat is not None and len(frames):
        down = pick_peaks(downbeat, rate, threshold=downbeat_threshold, **options)
        near = np.abs(down - frames[_nearest(frames, down)]) <= window * rate
        alone = down[~near]
        at = np.rint(alone).astype(np.int64)
        likely = downbeat[at] > 1 - beat[at]
        gaps = np.abs(alone - frames[_nearest(frames, alone)]) >= min_interval * rate - ROUNDING
        inserted = alone[likely & gaps]
        frames = np.sort(np.concatenate([frames, inserted]))
        numbers = np.unique(_nearest(frames, np.concatenate([down[near], inserted, pins.frames[pins.downbeats]])))
    confidence = np.asarray(beat[np.clip(np.rint(frames).astype(np.int64), 0, len(beat) - 1)], np.float32)
    places = positions.count(len(frames), numbers)
    return Decoded(frames / rate, places, confidence, positions.metre(places))


def _nearest(frames: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Number of the frame that is nearest to each of those wanted; `frames` ascends and is not empty."""
    after = np.clip(np.searchsorted(frames, wanted), 1, max(1, len(frames) - 1))
    before = after - 1
    after = np.minimum(after, len(frames) - 1)
    return np.where(wanted - frames[before] <= frames[after] - wanted, before, after)


def _apart(peaks: np.ndarray, heights: np.ndarray, distance: float) -> np.ndarray:
    """Which of ascending peaks stay, bool: the highest first, none nearer than a distance to one that stays."""
    stays = np.ones(len(peaks), bool)
    starts = np.searchsorted(peaks, peaks - distance, side="right")
    ends = np.searchsorted(peaks, peaks + distance)
    for number in np.argsort(-heights, kind="stable"):
        if stays[number]:
            stays[starts[number] : number] = stays[number + 1 : ends[number]] = False
    return stays
