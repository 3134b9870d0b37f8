"""The report on a corpus as lines for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from datasets.corpus import ANNOTATIONS, NUMBERS, SPLITS, Corpus
from datasets.corpus_audit import Finding, LabelRow
from datasets.labels import counted
from datasets.measures import Distribution
from datasets.text import pluralize
from experiments.settings import DatamoduleSettings
from experiments.tasks import Task
from experiments.tracks.annotations import shown
from experiments.tracks.data import DataSource, spell
from experiments.tracks.strata import label_of

MOST_LINES = 12  # of labels


def summary(
    name: str,
    used: Corpus,
    task: Task,
    rows: Mapping[str, Sequence[LabelRow]],
    found: Sequence[Finding],
    seconds: Mapping[str, float],
    counted_on: Mapping[str, Corpus] | None = None,
) -> list[str]:
    """The report as lines, what matters first; labels are those of the tracks of `counted_on`, by default all used."""
    hours, what = sum(seconds.values()) / 3600, " and ".join(task.annotations)
    names = ("value a track", "values a track") if task.kind == "values" else ("class",)
    outputs = pluralize(len(task.classes), *names)
    lines = [f"{name}: {pluralize(len(used), 'track')} with {what}, {hours:,.2f} hours, {outputs}", ""]
    lines += _findings("problems that distort results", [finding for finding in found if finding.grave])
    lines += _findings("worth a look", [finding for finding in found if not finding.grave])
    if not found:
        lines += ["no problem was found that would distort results", ""]
    lines.append(f"{'':<10}{'tracks':>10}{'hours':>10}{'labels':>10}    (splits {used.split_by})")
    for split in SPLITS:
        inside = used.split(split)
        length = sum(seconds[track.id] for track in inside) / 3600
        lines.append(f"{split:<10}{len(inside):>10,}{length:>10.2f}{len(counted(inside, label_of(task))):>10,}")
    lines += ["", *_lengths(list(seconds.values()))]
    for annotation, of_annotation in rows.items():
        lines += ["", *_label_lines(annotation, of_annotation, (counted_on or {}).get(annotation, used))]
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
        if name not in NUMBERS:
            extent = [f"{len(set(values)):,} different"]
        else:
            extent = [f"{min(numbers):g} to {max(numbers):g}"] if numbers else []
        refused = len(tracks) - len(numbers if name in NUMBERS else values)
        extent += [f"{refused:,} cannot be read"] if refused else []
        lines.append(f"{name}: {pluralize(len(tracks), 'track')}, {', '.join(extent)}")
    return ["", *lines] if lines else []


def _findings(heading: str, found: Sequence[Finding]) -> list[str]:
    if not found:
        return []
    lines = [f"  {one.said}: {shown([str(case) for case in one.cases], most=3)}" for one in found]
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


def normalisation_lines(measured: Distribution, source: DataSource, settings: DatamoduleSettings) -> list[str]:
    """What the features of the training tracks are like, and the settings that normalise by it."""
    used = settings.norm.norm_mean, settings.norm.norm_std
    own = source.frontend.mean, source.frontend.std
    now = [default if given is None else given for given, default in zip(used, own, strict=True)]
    return [
        "",
        f"log-mels of the training tracks: mean {measured.mean:.4f}, deviation {measured.deviation:.4f} "
        f"over {measured.count:,} values; these settings normalise with {now[0]:g} and {now[1]:g}",
        f"to normalise with this corpus: datamodule.norm.norm_mean={measured.mean:.4f} "
        f"datamodule.norm.norm_std={measured.deviation:.4f}",
        f"to train on it: python ex_pretrain.py with maest_30s_random_weights_pretrain{spell(settings)}",
    ]
