"""Beats and bars of a whole recording with the bar-pointer model, as Böck, Krebs and Widmer decode ("Joint Beat and
Downbeat Tracking with Recurrent Neural Networks", ISMIR 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from models.rhythm import positions
from models.rhythm.bar_model import SHORTEST, BarModel, bar_model
from models.rhythm.bars import bar_positions
from models.rhythm.decoded import Decoded
from models.rhythm.observations import IMPOSSIBLE, Evidence, beat_evidence, evidence, exclusive, within
from models.rhythm.options import Decoding
from models.rhythm.peaks import refined, uphill
from models.rhythm.pins import NO_PINS, Pins, certain, check_kept, check_tempi
from models.rhythm.tempo_curve import tempo
from models.rhythm.viterbi import Path, viterbi

FAINT = 0.1  # of the median activation of all beats: a first or last beat below it was invented to complete a path
APART = 3  # frames between two beats from which on they cannot climb to one peak
AROUND = 1.2  # how far a tempo may be from exactly half or twice the one that was found


def decode_bars(
    beat: np.ndarray, downbeat: np.ndarray | None, rate: float, options: Decoding, pins: Pins = NO_PINS
) -> Decoded:
    """The likeliest beats; the bar length that fits best holds for the whole recording, unless the metre may change.

    Args:
        beat: Probability of any beat, `[frames]`.
        downbeat: Probability of a downbeat `[frames]`; None: positions are not known.
        rate: Frames a second.
        options: How.
        pins: Beats that the path enters.

    Returns:
        With the first frame at second 0.

    Raises:
        ValueError: No path enters all pinned beats.
    """
    loudest = beat if downbeat is None else np.maximum(downbeat, beat - downbeat)
    down, other = (within(beat),) * 2 if downbeat is None else exclusive(beat, downbeat)
    active = np.union1d(np.flatnonzero(loudest >= options.threshold), pins.steps)
    if not len(active):
        return Decoded(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.float32))
    start, end = int(active[0]), int(active[-1]) + 1
    down, other, loudest, pins = down[start:end], other[start:end], loudest[start:end], pins.later(start)
    if downbeat is None:
        bars, seen = {1: 0.0}, beat_evidence(other, options.observation_lambda)
    elif options.metre_changes:
        bars, seen = {1: 0.0}, beat_evidence(within(down + other), options.observation_lambda)
    else:
        bars, seen = options.bars, evidence(down, other, options.observation_lambda)
    if len(pins):
        check_tempi(pins, bar_model(rate, 1, **options.model).intervals, rate)
        seen = certain(seen, pins)
    length, path = _best(bars, seen, rate, options)
    heard = _heard(path, loudest)
    pinned = pins.numbers(heard.starts)
    known = pinned >= 0
    frames = start + np.where(known | (not options.correct), heard.starts, _at_highest(heard, loudest))
    times = frames / rate
    if options.correct and options.refine:
        frames = uphill(beat, frames) if np.diff(frames).min(initial=APART) >= APART else frames
        times = refined(beat, frames) / rate
    times[known] = (start + pins.frames[pinned[known]]) / rate
    if downbeat is None:
        places = np.zeros(len(frames), np.int64)
    elif options.metre_changes:
        places = _changing(heard, down, other, options.bars, np.isin(heard.starts, pins.steps[pins.downbeats]))
    else:
        places = heard.positions
    down_starts = None if downbeat is None else start + heard.starts[places == 1]
    check_kept(pins.later(-start), start + heard.starts, down_starts, rate)
    found = Decoded(times, places, np.asarray(beat[frames], np.float32), positions.metre(places))
    if options.alternatives and options.tempo is None:
        found = replace(found, alternatives=_alternatives(found, path, length, seen, rate, options))
    return found


def _best(bars: Mapping[int, float], seen: Evidence, rate: float, options: Decoding) -> tuple[int, Path]:
    """The bar length that fits best, and the path through such bars."""
    paths = _paths([bar_model(rate, beats, **options.model) for beats in bars], seen)
    scores = [path.log_probability + prior for path, prior in zip(paths, bars.values(), strict=True)]
    best = int(np.argmax(scores))
    return list(bars)[best], paths[best]


def _paths(models: Sequence[BarModel], seen: Evidence) -> list[Path]:
    """The likeliest path of each model, found side by side."""
    if len(models) < 2:
        return [viterbi(model, seen) for model in models]
    with ThreadPoolExecutor(len(models)) as threads:
        return list(threads.map(lambda model: viterbi(model, seen), models))


@dataclass(frozen=True, eq=False)
class Heard:
    """Runs of frames in which a beat is heard.

    Attributes:
        starts: First frames, int64 `[beats]`.
        ends: One behind the last.
        positions: In the bar, from 1.
    """

    starts: np.ndarray
    ends: np.ndarray
    positions: np.ndarray


def _heard(path: Path, loudest: np.ndarray) -> Heard:
    """Runs of a path, but for a first and a last one with nothing to be heard in them."""
    starts = np.maximum(path.frames, 0)
    ends = np.minimum(path.frames + path.widths, len(loudest))
    inside = starts < ends
    starts, ends = starts[inside], ends[inside]
    heights = np.array([loudest[start:end].max() for start, end in zip(starts, ends, strict=True)])
    kept = np.ones(len(starts), bool)
    if len(starts):
        faint = heights < FAINT * np.median(heights)
        kept[0], kept[-1] = not faint[0], not faint[-1]
    return Heard(starts[kept], ends[kept], path.beats[inside][kept] + 1)


def _at_highest(heard: Heard, loudest: np.ndarray) -> np.ndarray:
    """The frame of every run in which most is heard."""
    runs = zip(heard.starts, heard.ends, strict=True)
    return np.array([start + loudest[start:end].argmax() for start, end in runs], np.int64)


def _changing(
    heard: Heard, down: np.ndarray, other: np.ndarray, bars: Mapping[int, float], known: np.ndarray
) -> np.ndarray:
    """Positions of beats in bars whose length may change; of `known` downbeats 1."""
    runs = list(zip(heard.starts, heard.ends, strict=True))
    downbeat = np.array([down[start:end].max() for start, end in runs])
    another = np.array([other[start:end].max() for start, end in runs])
    return bar_positions(downbeat / (downbeat + another), bars, known=known)[0]


def _alternatives(
    found: Decoded, path: Path, beats: int, seen: Evidence, rate: float, options: Decoding
) -> tuple[tuple[float, float], ...]:
    """Tempi near half and near twice the one found, with log probabilities relative to that of the path found.

    All paths are scored by one model. Where it must know more tempi than were searched, the path that is compared with
    is the likeliest one that it has among those.
    """
    bpm = tempo(found.times)
    if bpm is None:
        return ()
    ranges = [(other / AROUND, other * AROUND) for other in (bpm / 2, bpm * 2)]
    ranges = [(slow, fast) for slow, fast in ranges if np.rint(60 * rate / fast) >= SHORTEST]
    given = options.model
    searched = given["min_bpm"], given["max_bpm"]
    widest = min(slow for slow, _ in [*ranges, searched]), max(fast for _, fast in [*ranges, searched])
    model = bar_model(rate, beats, **given | {"min_bpm": widest[0], "max_bpm": widest[1]})
    parts = [part for slow, fast in ranges if (part := model.between(60 * rate / fast, 60 * rate / slow))]
    if widest == searched:
        paths = [path, *_paths(parts, seen)]
    else:
        same = model.between(*(np.rint(60 * rate / bpm) for bpm in reversed(searched)))
        paths = _paths([same or model, *parts], seen)
    best, *others = (one.log_probability for one in paths)
    rated = [(_bpm(one, rate), score - best) for one, score in zip(paths[1:], others, strict=True)]
    return tuple(sorted((one for one in rated if one[1] > -IMPOSSIBLE / 2), key=lambda one: -one[1]))


def _bpm(path: Path, rate: float) -> float:
    """Of the median interval of a path."""
    return 60 * rate / float(np.median(path.intervals))
