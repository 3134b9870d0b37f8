"""Tempi and metres of a corpus as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.corpus import SPLITS
from datasets.rhythm_audit import AnnotatedTempo, BeatRow, metres
from experiments.errors import UserError
from experiments.reports import COLOURS, MUTED, SPLIT_COLOURS, picture

BINS = 25
NARROWEST = 1.0  # BPM from the slowest to the fastest: a corpus of one tempo still has bins
REFUSED = "refused"
UNKNOWN = "none known"


def tempo_histogram(
    tempi: Sequence[AnnotatedTempo], limits: tuple[float, float], path: str | Path, title: str = "tempo"
) -> Path:
    """Draw how many recordings have which tempo, in 25 equal bins from the slowest to the fastest, by split.

    Args:
        tempi: Those refused are shown, too.
        limits: Slowest and fastest tempo of the range, BPM, which are marked.
        path: Of the PNG file.
        title: Above it.

    Raises:
        UserError: There is none.
    """
    path = Path(path)
    if not tempi:
        raise UserError(f"{path.name}: no tempo to draw")
    with picture(path, 9, 4.5) as (axis,):
        _histogram(axis, tempi, limits)
        axis.set_title(title)
    return path


def beats_picture(rows: Sequence[BeatRow], limits: tuple[float, float], path: str | Path, title: str = "beats") -> Path:
    """Draw the tempi that beats have, and beside them how many beats most bars of a recording have, both by split.

    Args:
        rows: Of the recordings.
        limits: Slowest and fastest tempo that the decoder finds, BPM, which are marked.
        path: Of the PNG file.
        title: Above the tempi.

    Raises:
        UserError: No recording has a tempo.
    """
    path = Path(path)
    tempi = [AnnotatedTempo(row.track, "", row.tempo, row.split) for row in rows if row.tempo is not None]
    if not tempi:
        raise UserError(f"{path.name}: no recording with two beats to draw")
    with picture(path, 13, 4.5, 1, 2, width_ratios=[3, 2]) as (left, right):
        _histogram(left, tempi, limits)
        left.set_title(f"{title}: 60 over the median interval")
        names = [*map(str, sorted(metres(rows))), *([UNKNOWN] if any(row.metre is None for row in rows) else [])]
        start = np.zeros(len(names))
        for split in SPLITS:
            inside = [UNKNOWN if row.metre is None else str(row.metre) for row in rows if row.split == split]
            counts = np.array([inside.count(name) for name in names])
            if not counts.any():  # empty bars would leave no room above the others
                continue
            right.bar(names, counts, bottom=start, width=0.6, color=SPLIT_COLOURS[split])
            start += counts
        for place, count in enumerate(start):
            right.text(place, count, f"{count:,.0f}", ha="center", va="bottom", fontsize=11, color=MUTED)
        right.set_ylim(0, 1.12 * start.max())
        right.yaxis.get_major_locator().set_params(integer=True)
        right.grid(axis="x", visible=False)
        right.set_xlabel("beats in most bars")
        right.set_ylabel("tracks")
    return path


def _histogram(axis, tempi: Sequence[AnnotatedTempo], limits: tuple[float, float]) -> None:
    bpm = np.array([one.bpm for one in tempi])
    low, high = float(bpm.min()), float(bpm.max())
    if high - low < NARROWEST:
        low, high = low - NARROWEST / 2, high + NARROWEST / 2
    colours: Mapping[str, str] = {**{split: SPLIT_COLOURS[split] for split in SPLITS}, REFUSED: MUTED}
    of_split = {name: bpm[[(one.split or REFUSED) == name for one in tempi]] for name in colours}
    present = {name: values for name, values in of_split.items() if len(values)}
    axis.hist(
        list(present.values()),
        bins=np.linspace(low, high, BINS + 1),
        stacked=True,
        color=[colours[name] for name in present],
        label=[f"{name}: {len(values):,}" for name, values in present.items()],
    )
    for limit in limits:
        axis.axvline(limit, color=COLOURS[-1], linestyle="--", linewidth=1.2)
        axis.text(limit, 0.99, f" {limit:g}", transform=axis.get_xaxis_transform(), va="top", fontsize=11)
    axis.set_xlabel("tempo, BPM")
    axis.set_ylabel("tracks")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.figure.legend(loc="outside lower left", ncols=len(present))
