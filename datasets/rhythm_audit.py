"""What annotated tempi and beats are like: statistics by genre, metres, irregular bars."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.beats import DOWNBEAT, Beats

IRREGULAR = 0.05  # share of bars that are not as long as most, above which a track is irregular


@dataclass(frozen=True, slots=True)
class AnnotatedTempo:
    """The tempo of a recording.

    Attributes:
        track: Its id.
        genre: Or nothing.
        bpm: The tempo.
        split: Of an accepted recording; empty for a refused one.
    """

    track: str
    genre: str
    bpm: float
    split: str


@dataclass(frozen=True, slots=True)
class TempoRow:
    """Tempi of a genre.

    Attributes:
        genre: Its name.
        tracks: Recordings with a tempo.
        mean, std, median, low, high: BPM, of all of these.
        in_range: How many are in the range.
        usable: How many are accepted.
    """

    genre: str
    tracks: int
    mean: float
    std: float
    median: float
    low: float
    high: float
    in_range: int
    usable: int


def tempo_rows(tempi: Sequence[AnnotatedTempo], low: float, high: float) -> list[TempoRow]:
    """Statistics of every genre by name, and of `all` where there are several.

    Args:
        tempi: One or more.
        low: Slowest tempo of the range, BPM.
        high: Fastest, BPM.
    """
    genres: defaultdict[str, list[AnnotatedTempo]] = defaultdict(list)
    for one in tempi:
        genres[one.genre].append(one)
    named = sorted(genres.items()) if len(genres) > 1 else []
    return [_row(genre or "-", members, low, high) for genre, members in [*named, ("all", list(tempi))]]


def _row(genre: str, members: Sequence[AnnotatedTempo], low: float, high: float) -> TempoRow:
    bpm = np.array([one.bpm for one in members])
    return TempoRow(
        genre,
        len(bpm),
        float(bpm.mean()),
        float(bpm.std()),
        float(np.median(bpm)),
        float(bpm.min()),
        float(bpm.max()),
        int(((bpm >= low) & (bpm <= high)).sum()),
        sum(bool(one.split) for one in members),
    )


@dataclass(frozen=True, slots=True)
class BeatRow:
    """The beats of a recording.

    Attributes:
        track: Its id.
        split: Of the recording.
        beats: How many.
        downbeats: How many; None where nothing is known of them.
        tempo: 60 over the median interval, BPM; None of fewer than two beats.
        metre: Beats of most bars, the shortest of those equally common; None without a whole bar.
        irregular: Share of the bars that are not as long; None without a whole bar.
    """

    track: str
    split: str
    beats: int
    downbeats: int | None
    tempo: float | None
    metre: int | None
    irregular: float | None


def beat_row(track: str, split: str, beats: Beats) -> BeatRow:
    """The beats of a recording in numbers."""
    bars = bar_lengths(beats)
    metre, share = None, None
    if len(bars):
        metre = int(np.bincount(bars).argmax())
        share = float((bars != metre).mean())
    downbeats = len(beats.downbeats) if beats.has_downbeats else None
    return BeatRow(track, split, len(beats), downbeats, beats.tempo, metre, share)


def bar_lengths(beats: Beats) -> np.ndarray:
    """Beats of every whole bar, from downbeat to downbeat, int64 `[bars]`."""
    if beats.positions is None:
        return np.empty(0, np.int64)
    return np.diff(np.flatnonzero(beats.positions == DOWNBEAT))


def metres(rows: Iterable[BeatRow]) -> dict[int, int]:
    """Recordings of every metre, the most common first."""
    return dict(Counter(row.metre for row in rows if row.metre is not None).most_common())


def is_irregular(row: BeatRow) -> bool:
    """Whether more than a few bars of a recording are not as long as most."""
    return row.irregular is not None and row.irregular > IRREGULAR


def beyond(rows: Iterable[BeatRow], low: float, high: float) -> list[BeatRow]:
    """Recordings whose tempo is not in a range, BPM."""
    return [row for row in rows if row.tempo is not None and not low <= row.tempo <= high]
