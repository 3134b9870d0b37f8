"""A corpus at a glance: its labels, splits and durations on one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.corpus import SPLITS
from datasets.corpus_audit import LabelRow
from experiments.errors import UserError
from experiments.reports import MOST_BARS, MUTED, SPLIT_COLOURS, picture, short_names

BINS = 40
NEARLY_EQUAL = 0.01  # share of the longest: lengths that differ by less are one bar
LONGEST = 600.0  # seconds: above it lengths are shown in minutes


def corpus_picture(
    rows: Sequence[LabelRow], seconds: Mapping[str, np.ndarray], path: str | Path, title: str = "labels"
) -> Path:
    """Draw the labels by split, the most common first, and beside them how many tracks there are, in the
    colours of the splits, and how long they are.

    Args:
        rows: Of one annotation, the most common first; of more than `MOST_BARS`, the most common and the rarest halves.
        seconds: Lengths of the tracks of every split, `[tracks]`.
        path: Of the PNG file.
        title: Above the labels.

    Raises:
        UserError: There is no label, or no track.
    """
    path = Path(path)
    if not rows or not any(len(lengths) for lengths in seconds.values()):
        raise UserError(f"{path.name}: {len(rows)} labels, {sum(map(len, seconds.values()))} tracks: nothing to draw")
    half = MOST_BARS // 2
    cut = len(rows) > MOST_BARS
    bars = [*rows[:half], *rows[-half:]] if cut else list(rows)
    with picture(path, 12, min(max(4.5, 1.6 + 0.27 * len(bars)), 14), 1, 2) as (left, right):
        right.remove()
        grid = left.get_gridspec()
        grid.set_width_ratios([3, 2])
        beside = grid[0, 1].subgridspec(2, 1)
        _labels(left, bars, half if cut else None)
        left.set_title(f"{title}: the {half} most common and {half} rarest of {len(rows)}" if cut else title)
        _sizes(left.figure.add_subplot(beside[0]), {split: len(seconds.get(split, ())) for split in SPLITS})
        _lengths(left.figure.add_subplot(beside[1]), seconds)
    return path


def _labels(axis, bars: Sequence[LabelRow], gap: int | None) -> None:
    places = np.arange(len(bars), dtype=float)
    if gap is not None:
        places[gap:] += 1
    start = np.zeros(len(bars))
    for split in SPLITS:
        counts = np.array([getattr(row, split) for row in bars])
        axis.barh(places, counts, left=start, height=0.8, color=SPLIT_COLOURS[split], label=split)
        start += counts
    for place, row in zip(places, bars, strict=True):
        axis.text(row.tracks, place, f" {row.tracks}", va="center", fontsize=10, color=MUTED)
    axis.set_yticks(places, short_names([row.label for row in bars]), fontsize=11)
    axis.set_ylim(places[-1] + 0.6, -0.6)
    axis.margins(x=0.12)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("tracks")


def _sizes(axis, sizes: Mapping[str, int]) -> None:
    bars = axis.bar(list(sizes), list(sizes.values()), color=[SPLIT_COLOURS[split] for split in sizes], width=0.6)
    axis.bar_label(bars, fmt="{:,.0f}")
    axis.margins(y=0.15)
    axis.grid(axis="x", visible=False)
    axis.set_title(f"{sum(sizes.values()):,} tracks")


def _lengths(axis, seconds: Mapping[str, np.ndarray]) -> None:
    everything = np.concatenate([np.asarray(lengths, float) for lengths in seconds.values()])
    unit, name = (60.0, "minutes") if np.median(everything) > LONGEST / 2 else (1.0, "seconds")
    low, high = everything.min() / unit, everything.max() / unit
    equal = high - low <= NEARLY_EQUAL * high
    edges = np.linspace(low, high, BINS + 1)
    if equal:  # one narrow bar in the middle, not a slab that looks like a range
        middle, half = (low + high) / 2, high / 2 / BINS
        edges = np.array([middle - half, middle + half])
        axis.set_xlim(0.5 * middle, 1.5 * middle)
    splits = [split for split in SPLITS if len(seconds.get(split, ()))]
    axis.hist(
        [np.asarray(seconds[split]) / unit for split in splits],
        bins=edges,
        stacked=True,
        color=[SPLIT_COLOURS[split] for split in splits],
    )
    axis.set_xlabel(name)
    axis.set_ylabel("tracks")
    hours = f"{everything.sum() / 3600:,.1f} hours"
    axis.set_title(f"all {(low + high) / 2:.1f} {name}, {hours}" if equal else f"lengths: {hours}")
