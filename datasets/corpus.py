"""A corpus: track ids, their typed annotations, and named splits.

A corpus is read from a table its owner can write with a spreadsheet: one row a track, a column with the path of the
audio relative to the corpus folder, and any of the columns of `ANNOTATIONS`. Several tags share a cell, joined by `;`
or `|` or as a list (:mod:`datasets.cells`). An empty cell means that nobody annotated the track; one whose listeners
found no tag fitting has `-`. A column `split` names train, valid and test; without one, tracks are split by a rule (see
:mod:`datasets.splits`). Pickled multi-hot arrays are a corpus too; for folders of classes see :mod:`datasets.folders`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import beat_cells, keys
from datasets.cells import FAILED_FORMULAS, SEPARATORS, distinct, listed, parse_number, parse_tags, parted
from datasets.columns import either, find, option, refuse_commas, several, unread
from datasets.identity import composed
from datasets.pickles import read_groundtruth
from datasets.splits import SPLITS, hashed_split
from datasets.tables import Cell, CorpusError, Sheet, read_sheet

__all__ = ["ANNOTATIONS", "SPLITS", "Corpus", "CorpusError", "Track", "read_groundtruths", "read_table"]

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
GIVEN, ASSIGNED = "given", "hashed"


ANNOTATIONS: Mapping[str, Callable[[Any], Any]] = {
    "tags": parse_tags,
    "genre": str,
    "key": str,
    "tempo": parse_number,
    "meter": str,
    "arousal": parse_number,
    "valence": parse_number,
    "beats": beat_cells.parse_cell,
    "artist": composed,
    "group": composed,
    "corpus": composed,
}
LABELS = ("tags", "genre")  # annotations with a vocabulary
NUMBERS = tuple(name for name, parse in ANNOTATIONS.items() if parse is parse_number)
FREE = ("meter", "artist", "group", "corpus")  # whatever is written


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a corpus.

    Attributes:
        id: Path of the audio relative to the corpus folder, POSIX separators, accents composed.
        split: One of `SPLITS`.
        annotations: Parsed cells by annotation name; empty cells are absent. What cannot be parsed is text, and
            several genres are a tuple, see `read_table`.
    """

    id: str
    split: str
    annotations: Mapping[str, Any]

    def labels(self, annotation: str) -> tuple[str, ...] | None:
        """The labels of an annotation of `LABELS`; None where nobody gave any."""
        value = self.annotations.get(annotation)
        return (value,) if isinstance(value, str) else value


@dataclass(frozen=True)
class Corpus:
    """Tracks with annotations and splits.

    Attributes:
        name: For messages.
        tracks: In the order of the table.
        split_by: `given`, or the rule that split the tracks.
        columns: Of the table it was read from.
        notes: What its reader should know.
        version: What its annotations are called, where several of the same recordings are in circulation.
        unreadable: Why the beats of a track could not be read, by its id.
    """

    name: str
    tracks: tuple[Track, ...]
    split_by: str = GIVEN
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    version: str = ""
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tracks)

    def __iter__(self) -> Iterator[Track]:
        return iter(self.tracks)

    def split(self, name: str) -> tuple[Track, ...]:
        """The tracks of one split, in the order of the table."""
        return tuple(track for track in self.tracks if track.split == name)

    def only(self, ids: Container[str]) -> Corpus:
        """The corpus without the tracks whose id is not among these."""
        return replace(self, tracks=tuple(track for track in self.tracks if track.id in ids))

    def annotated(self, *annotations: str) -> Corpus:
        """The corpus without the tracks that lack one of some annotations.

        Raises:
            CorpusError: No track has them.
        """
        kept = tuple(track for track in self.tracks if all(name in track.annotations for name in annotations))
        if not kept:
            raise CorpusError(
                f"corpus {self.name}: no track has {' and '.join(map(repr, annotations))}; "
                f"there is {', '.join(self.annotations) or 'none'}"
            )
        return replace(self, tracks=kept)

    @property
    def annotations(self) -> tuple[str, ...]:
        """Names of the annotations that some track has, sorted."""
        return tuple(sorted({name for track in self.tracks for name in track.annotations}))

    def vocabulary(self, annotation: str) -> tuple[str, ...]:
        """All labels of a textual annotation, sorted."""
        return tuple(sorted({label for track in self.annotated(annotation) for label in track.labels(annotation)}))


def read_table(
    table: Path,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    separators: str = SEPARATORS,
    splits: bool = True,
    lenient: bool = False,
    audio: Path | None = None,
) -> Corpus:
    """Read a table of annotations.

    Args:
        table: The file: CSV, TSV, Parquet, JSON or JSON lines, by its suffix.
        columns: Annotation name -> column name of what is read (`{"tags": "mtt_tags"}`); None reads all there is.
            A column under the annotation's own name may be absent or have one of its other names. Several columns of
            tags are pooled; some of them may be absent, and a track with an empty cell in one that is there counts as
            not annotated. `path` and `split` can be named in the same way.
        separators: What stands between the tags of a cell: any of these characters.
        splits: Whether the column of splits is read; otherwise, whatever stands in it, tracks are split by a rule.
        lenient: Whether numbers and keys that cannot be read stay as text, and several genres as a tuple, for the task
            that needs them to refuse. A column of numbers under its usual name that mostly holds something else is
            not read, with a note; nor are beats that cannot be read, alone.
        audio: Folder of the audio, where files of beats are looked for too.

    Raises:
        CorpusError: The file is missing or empty, a column is missing, a cell cannot be read, or a path repeats.
    """
    sheet = read_sheet(table)
    wanted = {name: (name,) if columns is None else _names(columns[name]) for name in columns or ANNOTATIONS}
    (path_column,) = find(sheet, "path", wanted.pop("path", ("path",)))
    split_column = find(sheet, "split", wanted.pop("split", ("split",)))
    found = {name: find(sheet, name, names) for name, names in wanted.items()}
    notes = either(sheet, found, wanted, separators)
    if lenient:
        notes += _drop_words(sheet, found, wanted)
    if set(found.get("genre", ())) <= set(found.get("tags", ())) and several(sheet, found.get("genre", ()), separators):
        found["genre"] = ()  # a column of tags that is called genre
    named = {name: present for name, present in found.items() if present}
    for name in LABELS:
        refuse_commas(sheet, name, named.get(name, ()), separators)
    tracks = []
    for where, cells in sheet.rows:
        identity = _identity(sheet.file, where, cells.get(path_column), path_column)
        split = _split_of(sheet.file, where, identity, cells, split_column if splits else ())
        annotations = {
            name: value
            for name, present in named.items()
            if (value := _value(sheet, where, name, present, cells, separators, lenient)) is not None
        }
        tracks.append(Track(identity, split, annotations))
    if not tracks:
        raise CorpusError(f"{table}: no rows")
    places = [where for where, _ in sheet.rows]
    _refuse_repeats(sheet.file, tracks, places)
    tracks, said = _settle_keys(tracks)
    notes += [f"{sheet.file.name}: column {named['key'][0]!r}: {line}" for line in said]
    unreadable: dict[str, str] = {}
    if beat_cells.BEATS in named:
        folders = [table.parent, *((audio,) if audio else ())]
        tracks, said, unreadable = beat_cells.settled(tracks, places, sheet.file, folders, lenient)
        notes += said
    notes += unread(sheet, found, wanted)
    split_by = GIVEN if split_column else ASSIGNED
    return Corpus(table.stem, tuple(tracks), split_by, sheet.columns, tuple(notes), unreadable=unreadable)


def _drop_words(sheet: Sheet, found: dict[str, tuple[str, ...]], wanted: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Take columns out of `found` that nobody named and that should hold numbers, and mostly do not; a note on each."""
    notes = []
    for name in NUMBERS:
        if not found.get(name) or wanted[name] != (name,):
            continue
        (column,) = found[name]
        cells = [(where, cell) for where, row in sheet.rows if (cell := row.get(column)) not in (None, "")]
        words = [(where, cell) for where, cell in cells if not _is_number(sheet, name, column, cell)]
        if 2 * len(words) > len(cells):
            where, word = words[0]
            found[name] = ()
            notes.append(
                f"{sheet.file.name}, {where}: {column}={word!r} is no number, nor are most cells of this column, "
                f"which is not read"
            )
    return notes


def _is_number(sheet: Sheet, name: str, column: str, cell: str | tuple[str, ...]) -> bool:
    try:
        for one in _single(cell, name, column, ""):
            _parse(sheet, name, one)
    except ValueError:
        return False
    return True


def _settle_keys(tracks: Sequence[Track]) -> tuple[list[Track], list[str]]:
    """Spell keys out that only their whole column tells; the tracks, and what to say."""
    column = [key for track in tracks if (key := track.annotations.get("key")) is not None]
    spelled, notes = keys.settled(column)
    if not spelled:
        return list(tracks), notes
    return [
        replace(track, annotations={**track.annotations, "key": spelled[key]})
        if (key := track.annotations.get("key")) in spelled
        else track
        for track in tracks
    ], notes


def _names(named: str | Sequence[str]) -> tuple[str, ...]:
    return (named,) if isinstance(named, str) else tuple(named)


def _identity(file: Path, where: str, cell: Cell, column: str) -> str:
    if isinstance(cell, tuple):
        raise CorpusError(f"{file}, {where}: column {column!r} holds a list; the path of one track is expected")
    if cell in FAILED_FORMULAS:
        raise CorpusError(f"{file}, {where}: {column}={cell!r}: a formula of the spreadsheet failed there")
    identity = composed(PurePosixPath((cell or "").replace("\\", "/")).as_posix())
    if identity in ("", "."):
        raise CorpusError(f"{file}, {where}: empty cell in column {column!r}")
    return identity


def _value(
    sheet: Sheet,
    where: str,
    name: str,
    columns: Sequence[str],
    row: Mapping[str, Cell],
    separators: str,
    lenient: bool,
) -> Any | None:
    """The annotation in the cells of a row; None where one of them is empty, or NaN where a number is."""
    cells = [row.get(column) for column in columns]
    if any(cell in (None, "") for cell in cells):
        return None
    if name == beat_cells.BEATS:
        return cells[0]
    values = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            if cell in FAILED_FORMULAS:
                raise ValueError("a formula of the spreadsheet failed there")
            if name == "tags":
                values += parse_tags(cell, separators)
            elif lenient and name == "genre":
                values += _genres(cell, separators)
            else:
                values += [_parse(sheet, name, one) for one in _single(cell, name, column, separators)]
        except ValueError as error:
            if lenient and name in (*NUMBERS, "key"):
                return cell if isinstance(cell, str) else ", ".join(cell)
            what = "cannot be read as tags" if name == "tags" else f"is not a {name}"
            raise CorpusError(f"{sheet.file}, {where}: {column}={cell!r:.80} {what}: {error}") from None
    if name == "tags":
        return tuple(dict.fromkeys(values))
    values = [value for value in values if value == value]
    return tuple(values) if len(values) > 1 else next(iter(values), None)


def _parse(sheet: Sheet, name: str, cell: str) -> Any:
    return parse_number(cell, sheet.decimal_commas) if name in NUMBERS else ANNOTATIONS[name](cell)


def _single(cell: str | tuple[str, ...], name: str, column: str, separators: str) -> tuple[str, ...]:
    """The one text of a cell, or none.

    Raises:
        ValueError: It holds several.
    """
    if name == "genre":
        texts = _genres(cell, separators)
    elif isinstance(cell, str):
        texts = (cell,) if name in FREE or (inside := listed(cell)) is None else inside
    else:
        texts = cell
    if len(texts) > 1:
        remedy = f"; {option('columns.tags', column)} reads it as tags" if name == "genre" else ""
        raise ValueError(f"{column} holds {len(texts)} values, a {name} is one{remedy}")
    return texts


def _genres(cell: str | tuple[str, ...], separators: str) -> tuple[str, ...]:
    return distinct(parted(cell, separators) if isinstance(cell, str) else cell)


def _split_of(file: Path, where: str, identity: str, row: Mapping[str, Cell], columns: Sequence[str]) -> str:
    if not columns:
        return hashed_split(identity)
    cell = row.get(columns[0]) or ""
    name = SPLIT_NAMES.get(cell.strip().lower()) if isinstance(cell, str) else None
    if name is None:
        raise CorpusError(
            f"{file}, {where}: {columns[0]} {cell!r}; expected one of {', '.join(SPLIT_NAMES)} "
            f"(leave the row out, or have all tracks split by a rule: {option('splits', 'stratified')})"
        )
    return name


def _refuse_repeats(source: Path, tracks: Sequence[Track], places: Sequence[str] = ()) -> None:
    seen: dict[str, int] = {}
    for number, track in enumerate(tracks):
        if track.id in seen:
            where = f" ({places[seen[track.id]]} and {places[number]})" if places else ""
            raise CorpusError(
                f"{source}: {track.id} stands in it twice{where}; give each track one row, its labels joined by ;"
            )
        seen[track.id] = number


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
        for identity, row in ((composed(one), row) for one, row in read_groundtruth(file).items()):
            if row.ndim != 1:
                raise CorpusError(f"{file}: {identity} has an array of shape {list(row.shape)}, expected [classes]")
            if labels is None:
                labels = tuple(f"class_{number:03d}" for number in range(len(row)))
            if len(row) != len(labels):
                raise CorpusError(f"{file}: {identity} has {len(row)} classes, expected {len(labels)}")
            tags = tuple(label for label, present in zip(labels, row, strict=True) if present)
            tracks.append(Track(identity, split, {"tags": tags}))
    _refuse_repeats(next(iter(files.values())), tracks)
    return Corpus("+".join(file.stem for file in files.values()), tuple(tracks))
