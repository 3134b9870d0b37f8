"""Pictures of global tempo: estimates over annotations, octave errors, and where a system is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.reports import COLOURS, MARKERS, MUTED, picture, short_name, short_names
from experiments.tasks.tempo_metrics import (
    FACTOR_NAMES,
    FACTORS,
    TOLERANCE,
    WIDE_TOLERANCE,
    correct,
    octave_errors,
    octave_shares,
)
from experiments.tempo.comparison import Songs, System

LOW, HIGH = 40.0, 250.0  # BPM, of the axes
TICKS = (40, 60, 80, 100, 120, 160, 200, 250)
RANGE = 10  # BPM
MOST_GENRES = len(COLOURS) * len(MARKERS)
MOST_PANELS = 2
OCTAVE_BINS = np.linspace(-2, 2, 81)


def scatter(systems: Sequence[System], songs: Songs, path: Path) -> Path:
    """Estimate over annotation, a panel a system, a mark a song in the colour of its genre.

    The bands around the diagonal are 4 and 8 %, the thin lines double, half, triple and third. What lies beyond the
    axes is drawn at their ends.
    """
    shown = list(systems)[:MOST_PANELS]
    genres = sorted(set(songs.genres)) if songs.genres and len(set(songs.genres)) <= MOST_GENRES else []
    with picture(path, 5.4 * len(shown) + (2 if genres else 0), 5.4, columns=len(shown)) as axes:
        for axis, system in zip(axes, shown, strict=True):
            _lines(axis)
            for number, genre in enumerate(genres or [""]):
                rows = np.array([one == genre for one in songs.genres]) if genres else np.ones(len(songs.ids), bool)
                axis.plot(
                    np.clip(songs.tempi[rows], LOW, HIGH),
                    np.clip(system.tempi[rows], LOW, HIGH),
                    linestyle="none",
                    marker=MARKERS[number // len(COLOURS)],
                    color=COLOURS[number % len(COLOURS)],
                    markersize=5,
                    alpha=0.7,
                    label=short_name(genre),
                )
            right = 100 * correct(system.tempi, songs.tempi).mean()
            axis.set_title(f"{short_name(system.name)}: Accuracy1 {right:.1f} %")
            axis.set_xlabel("annotated, BPM")
        axes[0].set_ylabel("estimated, BPM")
        if genres:
            axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return path


def _lines(axis) -> None:
    ends = np.array([LOW, HIGH])
    for tolerance, shade in ((WIDE_TOLERANCE, "#EFEFEF"), (TOLERANCE, "#D5D5D5")):
        axis.fill_between(ends, ends * (1 - tolerance), ends * (1 + tolerance), color=shade, linewidth=0)
    for factor, name in zip(FACTORS, FACTOR_NAMES, strict=True):
        axis.plot(ends, factor * ends, color=MUTED, linewidth=1 if factor == 1 else 0.6)
        if factor != 1:
            end = min(HIGH, HIGH / factor)
            axis.annotate(f"×{name} ", (end, factor * end), fontsize=9, color=MUTED, ha="right", va="top")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xlim(LOW, HIGH)
    axis.set_ylim(LOW, HIGH)
    axis.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axis.set_yticks(TICKS, [str(tick) for tick in TICKS])
    axis.minorticks_off()
    axis.set_aspect("equal")


def octave_histogram(systems: Sequence[System], songs: Songs, path: Path) -> Path:
    """Distribution of log2(estimate / annotation), a row a system, with the share near each factor."""
    shown = list(systems)[:MOST_PANELS]
    with picture(path, 9, 1 + 2.6 * len(shown), len(shown), sharex=True) as axes:
        for axis, system in zip(axes, shown, strict=True):
            errors = np.clip(octave_errors(system.tempi, songs.tempi), OCTAVE_BINS[0], OCTAVE_BINS[-1])
            counts, _, _ = axis.hist(errors, OCTAVE_BINS, color=COLOURS[0])
            axis.set_ylim(0, 1.35 * max(counts))  # room for the shares
            shares = octave_shares(system.tempi, songs.tempi)
            for factor, name in zip(FACTORS, FACTOR_NAMES, strict=True):
                axis.axvline(np.log2(factor), color=MUTED, linewidth=0.6, zorder=0)
                axis.annotate(
                    f"×{name}\n{100 * shares[name]:.0f} %",
                    (np.log2(factor), 0.97),
                    xycoords=("data", "axes fraction"),
                    va="top",
                    fontsize=10,
                )
            axis.set_ylabel("songs")
            axis.set_title(f"{short_name(system.name)}: {100 * shares['other']:.0f} % near none of these")
        axes[-1].set_xlabel("octaves from the annotated tempo to the estimate")
    return path


def where_right(systems: Sequence[System], songs: Songs, path: Path) -> Path:
    """Accuracy1 in every 10 BPM of the annotation and, where genres are known, in every genre."""
    shown = list(systems)[:MOST_PANELS]
    lowest = (songs.tempi // RANGE * RANGE).astype(int)
    groups = [
        ("annotated tempo, BPM", [str(one) for one in lowest], [str(one) for one in sorted(set(lowest.tolist()))])
    ]
    if 1 < len(set(songs.genres)) <= MOST_GENRES:
        groups.append(("genre", list(songs.genres), sorted(set(songs.genres))))
    widest = max(len(names) for _, _, names in groups)
    with picture(path, min(18, 4 + 0.5 * widest), 1 + 3.2 * len(groups), len(groups)) as axes:
        for axis, (title, of_songs, names) in zip(axes, groups, strict=True):
            inside = [np.array([one == name for one in of_songs]) for name in names]
            places, width = np.arange(len(names)), 0.8 / len(shown)
            for number, system in enumerate(shown):
                right = correct(system.tempi, songs.tempi)
                heights = [100 * right[rows].mean() for rows in inside]
                shift = (number - (len(shown) - 1) / 2) * width
                axis.bar(places + shift, heights, width, color=COLOURS[number], label=short_name(system.name))
                for place, height in zip(places + shift, heights, strict=True):
                    if height == 0:  # no bar to see
                        axis.text(place, 1, "0", ha="center", fontsize=9, color=COLOURS[number])
            labels = [f"{name}\n{rows.sum()}" for name, rows in zip(short_names(names, 12), inside, strict=True)]
            axis.set_xticks(places, labels, fontsize=9)
            axis.set_ylim(0, 100)
            axis.set_ylabel("Accuracy1, per cent")
            axis.set_xlabel(f"{title}; below it the number of songs")
        axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(shown))
    return path
