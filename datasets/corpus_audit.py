"""An audit of a corpus: what it holds, and what in it would spoil a training or its figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.corpus import SPLITS, Corpus, Track
from datasets.labels import counted, folded
from datasets.text import pluralize


@dataclass(frozen=True)
class LabelRow:
    """A label in numbers.

    Attributes:
        annotation: What it is a label of.
        label: Its name.
        train, valid, test: Tracks that have it.
        hours: Of audio.
        often_with: The label it shares most tracks with; empty where it shares none.
        together: How many tracks they share.
    """

    annotation: str
    label: str
    train: int
    valid: int
    test: int
    hours: float
    often_with: str
    together: int

    @property
    def tracks(self) -> int:
        """In all splits."""
        return self.train + self.valid + self.test


@dataclass(frozen=True)
class Case:
    """One thing found.

    Attributes:
        track: The track, label or artist it is about.
        split: Of that track.
        other: The one it shares something with.
        other_split: Of that one.
    """

    track: str
    split: str = ""
    other: str = ""
    other_split: str = ""

    def __str__(self) -> str:
        here = f"{self.track} ({self.split})" if self.split else self.track
        there = f"{self.other} ({self.other_split})" if self.other_split else self.other
        return f"{here} = {there}" if self.other else here


@dataclass(frozen=True)
class Finding:
    """A kind of thing that someone should look at.

    Attributes:
        kind: Its name.
        said: A sentence that begins with a number.
        cases: All of them.
        grave: Figures on this corpus would be wrong.
    """

    kind: str
    said: str
    cases: tuple[Case, ...]
    grave: bool = False


def label_rows(corpus: Corpus, annotation: str, seconds: Mapping[str, float]) -> list[LabelRow]:
    """Every label of an annotation, the commonest first.

    Args:
        corpus: The tracks.
        annotation: One of `datasets.corpus.LABELS`.
        seconds: Length of every track, by id.
    """
    by_split = {split: counted(corpus.split(split), annotation) for split in SPLITS}
    hours: defaultdict[str, float] = defaultdict(float)
    for track in corpus:
        for label in track.labels(annotation) or ():
            hours[label] += seconds[track.id] / 3600
    beside = partners(corpus, annotation)
    rows = [
        LabelRow(
            annotation, label, *(by_split[split][label] for split in SPLITS), round(hours[label], 6), *beside[label]
        )
        for label in sorted(hours)
    ]
    return sorted(rows, key=lambda row: (-row.tracks, row.label))


def partners(corpus: Corpus, annotation: str) -> dict[str, tuple[str, int]]:
    """For every label the one it shares most tracks with, and how many; `("", 0)` where it shares none."""
    from scipy.sparse import csr_array

    sets = [labels for track in corpus if (labels := track.labels(annotation))]
    names = sorted({label for labels in sets for label in labels})
    column = {name: number for number, name in enumerate(names)}
    starts = np.cumsum([0, *map(len, sets)])
    columns = np.array([column[label] for labels in sets for label in labels], dtype=np.int64)
    has = csr_array((np.ones(len(columns), np.int64), columns, starts), shape=(len(sets), len(names)))
    shared = (has.T @ has).tocsr()
    shared.setdiag(0)
    found = {}
    for number, name in enumerate(names):
        inside = slice(shared.indptr[number], shared.indptr[number + 1])
        counts, others = shared.data[inside], shared.indices[inside]
        best = max(zip(counts, -others, strict=True), default=(0, 0))
        found[name] = (names[-best[1]], int(best[0])) if best[0] else ("", 0)
    return found


def audio_findings(corpus: Corpus, twins: Iterable[Sequence[str]], annotations: Sequence[str]) -> list[Finding]:
    """Recordings that are there under several names: across splits, with other labels, or merely twice.

    Args:
        corpus: The tracks.
        twins: Ids of tracks that hold one recording, in groups.
        annotations: What their labels are compared in.
    """
    tracks = {track.id: track for track in corpus}
    across, disputed, twice = [], [], []
    for group in twins:
        first, *others = sorted((tracks[one] for one in group), key=lambda one: (SPLITS.index(one.split), one.id))
        for other in others:
            case = Case(other.id, other.split, first.id, first.split)
            differ = any(_differ(first, other, annotation) for annotation in annotations)
            if other.split != first.split:
                across.append(case)
            if differ:
                disputed.append(case)
            if other.split == first.split and not differ:
                twice.append(case)
    return [
        Finding(
            "same audio in two splits",
            f"{pluralize(len(across), 'track has', 'tracks have')} the audio of a track in another split, "
            f"too easy a test",
            tuple(across),
            grave=True,
        ),
        Finding(
            "same audio, other labels",
            f"{pluralize(len(disputed), 'track has', 'tracks have')} the audio of another track but not its labels",
            tuple(disputed),
        ),
        Finding(
            "same audio",
            f"{pluralize(len(twice), 'track has', 'tracks have')} audio and labels of another in their split",
            tuple(twice),
        ),
    ]


def _differ(first: Track, other: Track, annotation: str) -> bool:
    one, two = first.labels(annotation), other.labels(annotation)
    return one is not None and two is not None and set(one) != set(two)


def artist_finding(corpus: Corpus, remedy: str) -> Finding:
    """Artists with tracks in more than one split.

    Args:
        corpus: The tracks; those without an artist do not count.
        remedy: How a split without such artists is made.
    """
    splits: defaultdict[str, dict[str, int]] = defaultdict(dict)
    spelled: dict[str, str] = {}
    for track in corpus:
        if artist := track.annotations.get("artist"):
            of_artist = splits[folded(artist)]
            of_artist[track.split] = of_artist.get(track.split, 0) + 1
            spelled.setdefault(folded(artist), artist)
    cases = tuple(
        Case(spelled[artist], ", ".join(f"{split} {counts[split]}" for split in SPLITS if split in counts))
        for artist, counts in sorted(splits.items())
        if len(counts) > 1
    )
    return Finding(
        "artist in two splits",
        f"{len(cases)} of {pluralize(len(splits), 'artist')} {'has' if len(cases) == 1 else 'have'} tracks "
        f"in several splits{remedy}",
        cases,
        True,
    )


def label_findings(rows: Sequence[LabelRow], annotation: str) -> list[Finding]:
    """Labels that a split lacks."""
    found = []
    for split, why in (
        ("train", "cannot be learned"),
        ("valid", "not counted in validation"),
        ("test", "not tested"),
    ):
        lacking = [row.label for row in rows if not getattr(row, split)]
        said = f"{len(lacking)} of {len(rows)} labels ({annotation}) without a track in {split}: {why}"
        found.append(Finding(f"label not in {split}", said, tuple(map(Case, lacking)), grave=split == "train"))
    return found
