"""A corpus: track ids, their typed annotations, and named splits.

A corpus is read from a table its owner can write with a spreadsheet: one row a track, a column with the path of the
audio relative to the corpus folder, and any of the columns of `ANNOTATIONS`. Several tags share a cell, joined by `;`
or `|`. An empty cell means that nobody annotated the track; one whose listeners found no tag fitting has `-`. A column
`split` names train, valid and test; without one, tracks are dealt out by a hash of their id.
"""

from __future__ import annotations

import csv
import hashlib
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.pickles import read_groundtruth

SPLITS = ("train", "valid", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
NO_TAGS = "-"
PATH_COLUMNS = ("path", "file", "filename", "audio", "track", "track_id", "id")


class CorpusError(ValueError):
    """A table of annotations that cannot be used; the message names the file, the row or the column."""


def parse_tags(cell: str) -> tuple[str, ...]:
    """Split a cell of tags joined by `;` or `|` into its distinct tags, in order of appearance; `-` is none."""
    tags = (tag.strip() for tag in cell.replace("|", ";").split(";"))
    return tuple(dict.fromkeys(tag for tag in tags if tag not in ("", NO_TAGS)))


ANNOTATIONS: Mapping[str, Callable[[str], Any]] = {
    "tags": parse_tags,
    "genre": str.strip,
    "key": str.strip,
    "tempo": float,
    "meter": str.strip,
    "arousal": float,
    "valence": float,
}


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a corpus.

    Attributes:
        id: Path of the audio relative to the corpus folder, POSIX separators.
        split: One of `SPLITS`.
        annotations: Parsed cells by annotation name; empty cells are absent.
    """

    id: str
    split: str
    annotations: Mapping[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Tracks with annotations and splits."""

    name: str
    tracks: tuple[Track, ...]

    def __len__(self) -> int:
        return len(self.tracks)

    def __iter__(self) -> Iterator[Track]:
        return iter(self.tracks)

    def split(self, name: str) -> tuple[Track, ...]:
        """The tracks of one split, in the order of the table."""
        return tuple(track for track in self.tracks if track.split == name)

    def only(self, ids: Container[str]) -> Corpus:
        """The corpus without the tracks whose id is not among these."""
        return Corpus(self.name, tuple(track for track in self.tracks if track.id in ids))

    def annotated(self, annotation: str) -> Corpus:
        """The corpus without the tracks that lack an annotation.

        Raises:
            CorpusError: No track has it.
        """
        kept = tuple(track for track in self.tracks if annotation in track.annotations)
        if not kept:
            present = sorted({key for track in self.tracks for key in track.annotations})
            raise CorpusError(
                f"corpus {self.name}: no track has {annotation!r}; there is {', '.join(present) or 'none'}"
            )
        return Corpus(self.name, kept)

    def vocabulary(self, annotation: str) -> tuple[str, ...]:
        """All labels of a textual annotation, sorted."""
        labels: set[str] = set()
        for track in self.annotated(annotation):
            value = track.annotations[annotation]
            labels.update([value] if isinstance(value, str) else value)
        return tuple(sorted(labels))


def read_table(table: Path, columns: Mapping[str, str | Sequence[str]] | None = None) -> Corpus:
    """Read a CSV table of annotations.

    Args:
        table: The file; its first row names the columns.
        columns: Annotation name -> column name of what is read (`{"tags": "mtt_tags"}`); None reads all there is.
            A column under the annotation's own name may be absent. Several columns of tags are pooled; some of them
            may be absent, and a track with an empty cell in one that is there counts as not annotated.

    Raises:
        CorpusError: The file is missing or empty, a column is missing, a cell cannot be read, or a path repeats.
    """
    columns = {name: name for name in ANNOTATIONS} if columns is None else columns
    named = {name: (column,) if isinstance(column, str) else tuple(column) for name, column in columns.items()}
    if not table.is_file():
        raise CorpusError(f"{table}: no such table of annotations")
    header, rows = _rows(table)
    path_column = next((name for name in PATH_COLUMNS if name in header), None)
    if path_column is None:
        raise CorpusError(
            f"{table}: no column for the path of the audio; expected one of {', '.join(PATH_COLUMNS)}; "
            f"the first line gives {', '.join(map(repr, header)) or 'nothing'} (columns are separated by commas)"
        )
    for name, wanted in named.items():
        if wanted != (name,) and not any(column in header for column in wanted):
            raise CorpusError(f"{table}: no column {' or '.join(wanted)} for {name}; there is {', '.join(header)}")
    tracks = [_track(table, line, row, path_column, named) for line, row in rows]
    if not tracks:
        raise CorpusError(f"{table}: no rows")
    _refuse_repeats(table, tracks)
    return Corpus(table.stem, tuple(tracks))


def _rows(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The names of the columns, and every row with the number of its (last) line in the file."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except UnicodeDecodeError as error:
        raise CorpusError(f"{table}: not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise CorpusError(f"{table}: not a table of comma-separated values ({error})") from None
    for line, cells in lines:
        if len(cells) != len(header):
            raise CorpusError(
                f"{table}, line {line}: {len(cells)} cells for {len(header)} columns; "
                f"join the tags of a cell by ; or put a cell that holds a comma in quotes"
            )
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in lines]


def _track(
    table: Path, line: int, row: Mapping[str, str], path_column: str, columns: Mapping[str, Sequence[str]]
) -> Track:
    identity = PurePosixPath(row[path_column].strip().replace("\\", "/")).as_posix()
    if identity in ("", "."):
        raise CorpusError(f"{table}, line {line}: empty cell in column {path_column!r}")
    annotations = {}
    for name, wanted in columns.items():
        cells = [(row[column] or "").strip() for column in wanted if column in row]
        if not cells or not all(cells):
            continue
        cell = ";".join(cells)
        try:
            annotations[name] = ANNOTATIONS[name](cell)
        except ValueError:
            raise CorpusError(f"{table}, line {line}: {'+'.join(wanted)}={cell!r} is not a {name}") from None
    return Track(identity, _split_of(table, line, identity, row.get("split")), annotations)


def _split_of(table: Path, line: int, identity: str, cell: str | None) -> str:
    if cell is None:
        return hashed_split(identity)
    try:
        return SPLIT_NAMES[cell.strip().lower()]
    except KeyError:
        raise CorpusError(f"{table}, line {line}: split {cell!r}; expected one of {', '.join(SPLIT_NAMES)}") from None


def hashed_split(identity: str) -> str:
    """Deal a track into train, valid or test (80, 10, 10 %) by a hash of its id: stable when tracks are added."""
    dealt = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") % 10
    return "test" if dealt == 9 else "valid" if dealt == 8 else "train"


def _refuse_repeats(source: Path, tracks: Iterable[Track]) -> None:
    seen: set[str] = set()
    for track in tracks:
        if track.id in seen:
            raise CorpusError(f"{source}: {track.id} stands in it twice")
        seen.add(track.id)


def read_groundtruths(files: Mapping[str, Path], labels: Sequence[str] | None = None) -> Corpus:
    """Read one pickled ground truth a split: relative feature path -> boolean array with one entry per class.

    Args:
        files: Split name -> file.
        labels: Class names; numbered `class_000` onwards when absent.

    Raises:
        CorpusError: A file is missing, the class counts differ between files or from `labels`, or a path repeats.
    """
    tracks = []
    for split, file in files.items():
        if not file.is_file():
            raise CorpusError(f"{file}: no such ground truth ({split})")
        for identity, row in read_groundtruth(file).items():
            if labels is None:
                labels = tuple(f"class_{number:03d}" for number in range(len(row)))
            if len(row) != len(labels):
                raise CorpusError(f"{file}: {identity} has {len(row)} classes, expected {len(labels)}")
            tags = tuple(label for label, present in zip(labels, row, strict=True) if present)
            tracks.append(Track(identity, split, {"tags": tags}))
    _refuse_repeats(next(iter(files.values())), tracks)
    return Corpus("+".join(file.stem for file in files.values()), tuple(tracks))


@dataclass(frozen=True)
class Match:
    """Which stored track each labelled track is.

    Attributes:
        stored: Labelled id -> stored id.
        without_audio: Labelled ids that nothing stored corresponds to.
        without_labels: Stored ids that no label corresponds to.
    """

    stored: Mapping[str, str]
    without_audio: tuple[str, ...]
    without_labels: tuple[str, ...]


def match_tracks(labelled: Sequence[str], stored: Sequence[str]) -> Match:
    """Pair labelled with stored ids.

    Ids pair when they are equal, else without the file's suffix. Where no id of the table pairs in this way, it was
    written relative to another folder, and ids pair by the file's name alone. What is not unique on both sides stays
    alone. Letters with accents are equal however they are composed.

    Raises:
        CorpusError: No id pairs; the message shows one of each.
    """
    found: dict[str, str] = {}
    for key in (_composed, _without_suffix):
        _pair(key, labelled, stored, found)
    if not found:
        _pair(_name, labelled, stored, found)
    if not found and labelled:
        shown = f"{labelled[0]!r} is labelled, {stored[0]!r} is stored" if stored else "nothing is stored"
        raise CorpusError(
            f"none of the {len(labelled)} labelled tracks is among the {len(stored)} stored ones: {shown}"
        )
    taken = set(found.values())
    return Match(
        {identity: found[identity] for identity in labelled if identity in found},
        tuple(identity for identity in labelled if identity not in found),
        tuple(identity for identity in stored if identity not in taken),
    )


def _pair(key: Callable[[str], str], labelled: Sequence[str], stored: Sequence[str], found: dict[str, str]) -> None:
    """Add to `found` the ids that are still alone and have the same key, each the only one of its side."""
    taken = set(found.values())
    candidates = _unique(key, (identity for identity in stored if identity not in taken))
    alone = _unique(key, (identity for identity in labelled if identity not in found))
    found.update({identity: candidates[k] for k, identity in alone.items() if k in candidates})


def _composed(identity: str) -> str:
    return unicodedata.normalize("NFC", identity)


def _without_suffix(identity: str) -> str:
    path = PurePosixPath(_composed(identity))
    return path.with_suffix("").as_posix() if path.suffix and not path.suffix[1:].isdigit() else path.as_posix()


def _name(identity: str) -> str:
    return PurePosixPath(_composed(identity)).stem


def _unique(key: Callable[[str], str], identities: Iterable[str]) -> dict[str, str]:
    unique: dict[str, str] = {}
    repeated: set[str] = set()
    for identity in identities:
        k = key(identity)
        if k in unique:
            repeated.add(k)
        unique[k] = identity
    return {k: identity for k, identity in unique.items() if k not in repeated}
