"""The report on a corpus as lines for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from datasets.beat_cells import BEATS
from datasets.beats import Beats
from datasets.corpus import ANNOTATIONS, NUMBERS, SPLITS, Corpus
from datasets.corpus_audit import Finding, LabelRow
from datasets.labels import counted
from datasets.text import enumerated, pluralize

MOST_LINES = 12  # of labels


def summary(
    headline: str,
    used: Corpus,
    label: str,
    rows: Mapping[str, Sequence[LabelRow]],
    found: Sequence[Finding],
    seconds: Mapping[str, float],
    counted_on: Mapping[str, Corpus],
) -> list[str]:
    """The report as lines, what matters first.

    Args:
        headline: Name of the corpus, and what it is used for.
        used: The tracks that a training has.
        label: The annotation whose labels are counted by split.
        rows: Labels by annotation.
        found: What there is to look at.
        seconds: Lengths of the tracks.
        counted_on: By annotation, the tracks that `rows` counts.
    """
    lines = [headline, ""]
    lines += _findings("problems that distort results", [finding for finding in found if finding.grave])
    lines += _findings("worth a look", [finding for finding in found if not finding.grave])
    if not found:
        lines += ["no problem was found that would distort results", ""]
    lines.append(f"{'':<10}{'tracks':>10}{'hours':>10}{'labels':>10}    (splits {used.split_by})")
    for split in SPLITS:
        inside = used.split(split)
        length = sum(seconds[track.id] for track in inside) / 3600
        lines.append(f"{split:<10}{len(inside):>10,}{length:>10.2f}{len(counted(inside, label)):>10,}")
    lines += ["", *_lengths(list(seconds.values()))]
    for annotation, of_annotation in rows.items():
        lines += ["", *_label_lines(annotation, of_annotation, counted_on[annotation])]
    return lines


def other_annotations(
    corpus: Corpus, described: Collection[str], unreadable: Mapping[str, Collection[str]]
) -> list[str]:
    """A line on everything else that tracks are annotated with: how many tracks, and the range of the values.

    Args:
        corpus: The tracks.
        described: Annotations that the report is about already.
        unreadable: By annotation, the tracks whose value no task can read; they do not count for the range.
    """
    lines = []
    for name in ANNOTATIONS:
        if name not in corpus.annotations or name in described:
            continue
        tracks = corpus.annotated(name)
        values = [track.annotations[name] for track in tracks if track.id not in unreadable.get(name, ())]
        numbers = [value for value in values if isinstance(value, float)]
        if name == BEATS:
            extent = _beats(values)
        elif name not in NUMBERS:
            extent = [f"{len(set(values)):,} different"]
        else:
            extent = [f"{min(numbers):g} to {max(numbers):g}"] if numbers else []
        refused = len(tracks) - len(numbers if name in NUMBERS else values)
        extent += [f"{refused:,} cannot be read"] if refused else []
        lines.append(f"{name}: {pluralize(len(tracks), 'track')}, {', '.join(extent)}")
    return ["", *lines] if lines else []


def _beats(values: Sequence[Beats]) -> list[str]:
    """How many beats there are, and how many tracks have downbeats."""
    downbeats = sum(beats.has_downbeats for beats in values)
    return [f"{sum(map(len, values)):,} beats", f"{pluralize(downbeats, 'track')} with downbeats"]


def _findings(heading: str, found: Sequence[Finding]) -> list[str]:
    if not found:
        return []
    lines = [f"  {one.said}: {enumerated([str(case) for case in one.cases], most=3)}" for one in found]
    return [f"{heading}:", *lines, ""]


def _lengths(seconds: Sequence[float]) -> list[str]:
    low, quarter, middle, most, high = np.percentile(seconds, [0, 25, 50, 75, 100])
    return [f"lengths: {low:.1f} to {high:.1f} s, median {middle:.1f} s, the middle half {quarter:.1f} to {most:.1f} s"]


def _label_lines(annotation: str, rows: Sequence[LabelRow], used: Corpus) -> list[str]:
    annotated = [labels for track in used if (labels := track.labels(annotation)) is not None]
    each = f", {np.mean([len(labels) for labels in annotated]):.1f} a track" if annotation == "tags" else ""
    heads = "".join(f"{split:>8}" for split in SPLITS)
    head = f"{annotation}: {pluralize(len(rows), 'label')} of {pluralize(len(annotated), 'track')}{each}"
    lines = [f"{head:<40}{heads}{'hours':>8}  often with"]
    cut = len(rows) > MOST_LINES
    half = MOST_LINES // 2
    for row in [*rows[:half], None, *rows[-half:]] if cut else rows:
        if row is None:
            lines.append(f"  ... {len(rows) - 2 * half} more")
            continue
        counts = "".join(f"{getattr(row, split):>8,}" for split in SPLITS)
        beside = f"  {row.often_with} ({row.together:,})" if row.together else ""
        lines.append(f"  {row.label[:37]:<38}{counts}{row.hours:>8.2f}{beside}")
    return lines
