"""From the activations of a network to beats and bars, with the decoder and the options of one's choice.

The activations may be of any network, the package needs numpy, scipy and numba alone:

    from models.rhythm.decoding import Decoding, decode

    found = decode(activations, rate=50, options=Decoding(name="dbn", bars={4: 0.0, 3: -1.0}))
    found.times, found.positions, found.downbeats, found.confidence, found.metre

Networks with logits: take the sigmoid of each. Networks whose first column is about beats that are no downbeats, as
madmom's: add the second column to it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from models.rhythm.bar_decoder import decode_bars
from models.rhythm.decoded import Decoded
from models.rhythm.online import OnlineTracker
from models.rhythm.options import Decoding
from models.rhythm.peaks import decode_peaks
from models.rhythm.pins import Pins, pins_of

__all__ = ["Decoded", "Decoding", "decode", "decode_all"]


def decode(activations: np.ndarray, rate: float, options: Decoding | None = None, *, offset: float = 0.0) -> Decoded:
    """Beats and their positions in the bar.

    Args:
        activations: Probabilities `[steps, 2]`: any beat (downbeats included), downbeat. `[steps]` or `[steps, 1]`:
            any beat alone; positions are then not known.
        rate: Steps a second.
        options: Defaults where None.
        offset: Time of the first step, seconds.

    Raises:
        ValueError: The shape is another, a value is no probability (the message names the step), something pinned lies
            outside or goes with no tempo or bar that is allowed, or the rate is none, or too low for the tempi.
        TypeError: `options` are none.
    """
    options = Decoding() if options is None else options
    if not isinstance(options, Decoding):
        raise TypeError(f"options {options!r}: expected a Decoding; the time of the first step is offset=SECONDS")
    if not 0 < rate < math.inf:
        raise ValueError(f"rate {rate:g}: expected steps a second, above 0")
    beat, downbeat = _columns(activations)
    pins = pins_of(options, rate, offset, len(beat))
    beat[pins.steps] = 1.0
    if downbeat is not None:
        downbeat[pins.steps[pins.downbeats]] = 1.0
    if not len(beat):
        found = Decoded(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.float32))
    elif options.name == "peaks":
        found = _peaks(beat, downbeat, rate, options, pins)
    elif options.name == "online":
        bars = options.bars if downbeat is not None else {1: 0.0}
        found = OnlineTracker(rate, bars, **options.model).push(beat, downbeat)
    else:
        found = decode_bars(beat, downbeat, rate, options, pins)
    return replace(found, times=found.times + offset)


def decode_all(
    activations: Iterable[np.ndarray],
    rate: float,
    options: Decoding | None = None,
    *,
    offset: float = 0.0,
    jobs: int | None = None,
) -> list[Decoded]:
    """`decode` of several recordings in threads, in their order.

    Args:
        activations: Of each, see `decode`.
        rate: Steps a second.
        options: Defaults where None.
        offset: Time of the first step, seconds.
        jobs: Threads; None: one a core.
    """
    with ThreadPoolExecutor(jobs or os.cpu_count()) as threads:
        return list(threads.map(lambda one: decode(one, rate, options, offset=offset), activations))


def _peaks(beat: np.ndarray, downbeat: np.ndarray | None, rate: float, options: Decoding, pins: Pins) -> Decoded:
    return decode_peaks(
        beat,
        downbeat,
        rate,
        threshold=options.peak_threshold,
        downbeat_threshold=options.downbeat_threshold,
        window=options.peak_window,
        min_interval=options.min_interval,
        refine=options.refine,
        pins=pins,
    )


def _columns(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities of beats and downbeats, float64 `[steps]` each; the latter None where there is one column."""
    activations = np.asarray(activations)
    if activations.ndim == 1:
        activations = activations[:, None]
    if activations.ndim != 2 or activations.shape[1] not in (1, 2):
        raise ValueError(f"activations of shape {list(activations.shape)}: expected [steps, 2], beat and downbeat")
    columns = activations.T.astype(np.float64, order="C")
    if columns.size and not (columns.min() >= 0 and columns.max() <= 1):  # NaN is neither
        step = int(np.flatnonzero(~((columns >= 0) & (columns <= 1)).all(0))[0])
        values = ", ".join(f"{value:g}" for value in columns[:, step])
        raise ValueError(
            f"activations of step {step} are {values}: expected probabilities from 0 to 1; of logits take the sigmoid"
        )
    return columns[0], columns[1] if len(columns) == 2 else None
