"""The vocabulary of a corpus: spellings of one label brought together, rare and foreign labels left out.

Every function returns the changed corpus and what it did, so that nothing happens in silence.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets.corpus import Corpus, Track
from datasets.text import enumerated, pluralize

MANY_SINGLES = 10


@dataclass(frozen=True, order=True)
class Merged:
    """Spellings that became one label.

    Attributes:
        label: The spelling that stays.
        others: Those that went, sorted.
        tracks: How many tracks had one of those.
    """

    label: str
    others: tuple[str, ...]
    tracks: int


@dataclass(frozen=True, order=True)
class Dropped:
    """A label that was left out.

    Attributes:
        label: Its name.
        training: Training tracks that have it.
        tracks: All tracks that have it.
    """

    label: str
    training: int
    tracks: int


def folded(label: str) -> str:
    """What two spellings of a label share: NFKC form, without regard to case or to the number of spaces."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold()).split())


def counted(tracks: Iterable[Track], annotation: str) -> Counter[str]:
    """How many tracks have each label."""
    return Counter(label for track in tracks for label in track.labels(annotation) or ())


def merge_spellings(corpus: Corpus, annotation: str, known: Sequence[str] = ()) -> tuple[Corpus, tuple[Merged, ...]]:
    """Bring together the labels that differ only in case, spaces or Unicode form (NFKC).

    Args:
        corpus: The tracks.
        annotation: One of `datasets.corpus.LABELS`.
        known: Labels whose spelling is settled: others become them, and two of them stay apart. Among the rest the
            spelling of most tracks stays, of equally many the first by code point.

    Returns:
        The corpus, and what was merged, sorted.
    """
    counts = counted(corpus, annotation)
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda one: (-counts[one], one)):
        spellings[folded(label)].append(label)
    settled: defaultdict[str, list[str]] = defaultdict(list)
    for label in known:
        settled[folded(label)].append(label)
    becomes: dict[str, str] = {}
    for key, labels in spellings.items():
        kept = settled.get(key) or labels[:1]
        if len(kept) == 1:
            becomes |= {label: kept[0] for label in labels if label != kept[0]}
    if not becomes:
        return corpus, ()
    merged = []
    for label in sorted(set(becomes.values())):
        others = tuple(sorted(one for one, other in becomes.items() if other == label))
        merged.append(Merged(label, others, sum(counts[one] for one in others)))
    return _relabelled(corpus, annotation, lambda label: becomes.get(label, label)), tuple(merged)


def drop_rare(corpus: Corpus, annotation: str, at_least: int) -> tuple[Corpus, tuple[Dropped, ...]]:
    """Leave out the labels that fewer training tracks have than wanted.

    A track keeps its other tags, or an empty set of them; one whose genre is left out is not annotated any more.

    Returns:
        The corpus, and what was left out, sorted.
    """
    training = counted(corpus.split("train"), annotation)
    return _without(corpus, annotation, lambda label: training[label] >= at_least)


def keep_known(corpus: Corpus, annotation: str, known: Iterable[str]) -> tuple[Corpus, tuple[Dropped, ...]]:
    """Leave out the labels that are not known; otherwise as `drop_rare`."""
    return _without(corpus, annotation, frozenset(known).__contains__)


def merged_notes(annotation: str, merged: Sequence[Merged]) -> list[str]:
    """One line about spellings that were merged, or none."""
    if not merged:
        return []
    spelled = [f"{', '.join(map(ascii, one.others))} -> {one.label!r}" for one in merged]
    count = sum(len(one.others) for one in merged)
    return [
        f"{pluralize(count, 'spelling')} of labels ({annotation}) merged: {enumerated(spelled)} "
        f"(datamodule.merge_spellings=False keeps them apart)"
    ]


def dropped_notes(annotation: str, why: str, dropped: Sequence[Dropped], of: int) -> list[str]:
    """One line about labels that were left out, or none."""
    if not dropped:
        return []
    listed = [f"{one.label} ({one.training} training tracks)" for one in sorted(dropped)]
    return [f"{why} leaves out {len(dropped)} of {of} labels ({annotation}): {enumerated(listed)}"]


def singles_notes(separators: str, counts: Counter[str], tracks: int) -> list[str]:
    """One line where most labels belong to a single track, as they do where a cell should be split, or none."""
    singles = [label for label, count in counts.items() if count == 1]
    if len(singles) < max(MANY_SINGLES, tracks / 2):
        return []
    return [
        f"{len(singles)} of {len(counts)} labels belong to a single track, such as {min(singles)!r}: are these labels? "
        f"If a cell holds several, give the characters between them: datamodule.separators ({separators!r})"
    ]


def _without(corpus: Corpus, annotation: str, wanted: Callable[[str], bool]) -> tuple[Corpus, tuple[Dropped, ...]]:
    everywhere = counted(corpus, annotation)
    gone = {label for label in everywhere if not wanted(label)}
    if not gone:
        return corpus, ()
    training = counted(corpus.split("train"), annotation)
    dropped = tuple(Dropped(label, training[label], everywhere[label]) for label in sorted(gone))
    return _relabelled(corpus, annotation, lambda label: None if label in gone else label), dropped


def _relabelled(corpus: Corpus, annotation: str, becomes: Callable[[str], str | None]) -> Corpus:
    return replace(
        corpus,
        tracks=tuple(
            replace(track, annotations=_renamed(track.annotations, annotation, becomes))
            if annotation in track.annotations
            else track
            for track in corpus
        ),
    )


def _renamed(
    annotations: Mapping[str, Any], annotation: str, becomes: Callable[[str], str | None]
) -> Mapping[str, Any]:
    value = annotations[annotation]
    if not isinstance(value, str):
        kept = dict.fromkeys(name for label in value if (name := becomes(label)) is not None)
        return {**annotations, annotation: tuple(kept)}
    name = becomes(value)
    return {key: other for key, other in annotations.items() if key != annotation} | (
        {} if name is None else {annotation: name}
    )
