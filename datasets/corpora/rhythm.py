"""What corpora of beats share: whose tracks and splits they have, and in which layouts their annotations lie.

Tracks, the split into train and valid, and the eight folds are those of Foscarin, Schlüter and Widmer, "Beat this!
Accurate beat tracking without DBN postprocessing" (ISMIR 2024), and come with the project. The annotations are read
from a copy of their repository (a folder a corpus with `annotations/beats/*.beats`, `info.json`, `single.split` and
`8-folds.split`; its own lists are taken where it has them), or of what the corpus itself publishes: there, files are
known by what they are called, wherever below the folder they lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import plain_json
from datasets.beat_files import read_beats
from datasets.beats import Beats
from datasets.corpora.base import Definition, Item, ProtocolRow, shipped
from datasets.system_folders import files_below
from datasets.tables import CorpusError

REPOSITORY = "https://github.com/CPJKU/beat_this_annotations"
RELEASE = "beat_this_annotations"
LISTS = "beat_splits.csv.xz"
BEATS_FOLDER, INFO, SINGLE, EIGHT = "annotations/beats", "info.json", "single.split", "8-folds.split"
FOLDS = 8
PARTS = {"train": "train", "val": "valid"}
LEAST_SECONDS = 1.0  # of a recording with beats
SPLIT = "single"
TEST = "test"


def read_file(file: Path) -> Beats:
    """The beats of a file in any of the common formats.

    Raises:
        CorpusError: It cannot be read.
    """
    return read_beats(file).beats


@dataclass(frozen=True)
class BeatAnnotations:
    """The annotations of beats of one corpus.

    Attributes:
        corpus: Its folder in the repository, and its key in the shipped lists.
        name_of: Path of a file of annotations, or of audio, to the name of the recording; empty where it is none.
        suffixes: Of annotations in the layout of the corpus itself, the preferred one first.
        read: One such file.
        named: The files of that layout by `name_of`, to the same by the name of the recording.
        left_out: Recordings that the corpus itself has and the lists have not, by name, and why.
    """

    corpus: str
    name_of: Callable[[PurePosixPath], str]
    suffixes: tuple[str, ...] = (".beats",)
    read: Callable[[Path], Beats] = read_file
    named: Callable[[Mapping[str, Path]], Mapping[str, Path]] = dict
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Of the names of files in the repository, without which a recording's id is."""
        return f"{self.corpus}_"


@dataclass(frozen=True)
class Found:
    """Annotations that were found.

    Attributes:
        files: By the name of the recording.
        lists: Split and fold by the name of a file in the repository, where the folder has lists of its own.
        downbeats: Whether the repository says that they have downbeats.
        read: One file.
    """

    files: Mapping[str, Path]
    lists: Mapping[str, tuple[str, str]]
    downbeats: bool
    read: Callable[[Path], Beats]

    def beats(self, name: str) -> tuple[Beats | None, str]:
        """The beats of a recording, or None and why there are none to be had."""
        if name not in self.files:
            return None, "not annotated"
        try:
            beats = self.read(self.files[name])
        except CorpusError as error:
            return None, f"annotation cannot be read: {error}"
        return (beats if self.downbeats else Beats(beats.times)), ""


def corpus(
    annotations: BeatAnnotations, name: str, title: str, single: Mapping[str, int], place: Callable[[Item], str],
    source: str, terms: str, **more: Any,
) -> Definition:  # fmt: skip
    """A corpus of beats with the splits of the lists.

    Protocols are `single`, `fold0` to `fold7` (test is that fold, valid the next, train the other six) and `test` (all
    of it is test).

    Args:
        annotations: Where its beats are.
        name: On the command line.
        title: As people say it.
        single: Recordings of every split of the protocol `single`.
        place: As in `Definition`, as are `source`, `terms` and what else there may be.
    """
    counts = {SPLIT: single, TEST: {TEST: sum(single.values())}, **fold_counts(annotations.corpus)}
    about = {SPLIT: "the split of Beat This", TEST: "all of it as test"}
    names = {annotations.name_of(PurePosixPath(f"{track}.beats")) for track in shipped_lists(annotations.corpus)}
    return definition(
        annotations, partial(_read, annotations), names, name=name, title=title, counts=counts,
        protocols={one: about.get(one, f"fold {one[4:]} of eight as test, the next as valid") for one in counts},
        place=place, source=source, terms=terms, **more,
    )  # fmt: skip


def definition(
    annotations: BeatAnnotations, read: Callable[[Path | None], tuple[Item, ...]], names: Set[str], **facts: Any
) -> Definition:
    """A corpus whose annotations of beats are looked for as all are here, with any splits.

    Args:
        annotations: Where its beats are.
        read: As in `Definition`.
        names: Of recordings that a folder of its annotations has.
        **facts: What else `Definition` takes.
    """
    defaults = {
        "name_of": annotations.name_of,
        "metadata": f"{annotations.corpus}/{BEATS_FOLDER}",
        "metadata_source": f"git clone {REPOSITORY}",
        "holds": lambda folder: folder.is_dir() and not names.isdisjoint(find_annotations(annotations, folder).files),
        "version": lambda folder: RELEASE if _release(folder, annotations.corpus) else folder.name,
        "least_seconds": LEAST_SECONDS,
    }
    return Definition(read=cache(read), **(defaults | facts))


def find_annotations(annotations: BeatAnnotations, folder: Path | None) -> Found:
    """Look for the annotations of a corpus below a folder, in either layout.

    Raises:
        CorpusError: No folder is given, or a list of the repository cannot be read.
    """
    if folder is None:
        raise CorpusError(
            f"{annotations.corpus}: its annotations are read from a copy of {REPOSITORY}, or of its own; none is given"
        )
    root = _release(folder, annotations.corpus)
    if root is None:
        return Found(_files(annotations, folder), {}, True, annotations.read)
    files = {
        annotations.name_of(PurePosixPath(file.name)): file for file in sorted(root.glob(f"{BEATS_FOLDER}/*.beats"))
    }
    return Found(files, _lists(root), _has_downbeats(root), read_file)


def _release(folder: Path, corpus: str) -> Path | None:
    """The folder of a corpus in a copy of the repository."""
    places = (folder / corpus, folder / RELEASE / corpus, folder)
    return next((place for place in places if place.name == corpus and (place / BEATS_FOLDER).is_dir()), None)


def _files(annotations: BeatAnnotations, folder: Path) -> dict[str, Path]:
    """Files in the layout of the corpus itself, by the name of the recording; the preferred suffix, then the first."""
    found: defaultdict[str, list[tuple[int, str, Path]]] = defaultdict(list)
    for entry in files_below(folder):
        path = Path(entry.path)
        rank = next((n for n, end in enumerate(annotations.suffixes) if path.name.casefold().endswith(end)), None)
        if rank is not None and (name := annotations.name_of(PurePosixPath(path.relative_to(folder).as_posix()))):
            found[name].append((rank, str(path), path))
    return dict(annotations.named({name: min(files)[2] for name, files in found.items()}))


def _lists(root: Path) -> dict[str, tuple[str, str]]:
    """Split and fold of every track of the repository's own lists; empty where it has none."""
    if not (root / SINGLE).is_file():
        return {}
    splits, folds = _list(root / SINGLE), _list(root / EIGHT) if (root / EIGHT).is_file() else {}
    for track, value in splits.items():
        if value not in PARTS or folds.get(track, "0") not in map(str, range(FOLDS)):
            raise CorpusError(
                f"{root}: {track} is in {value!r} and fold {folds.get(track)!r}; expected train or val, and 0 to 7"
            )
    return {track: (PARTS[value], folds.get(track, "")) for track, value in splits.items()}


def _list(file: Path) -> dict[str, str]:
    try:
        rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if any("/" in track for track, _ in rows):
            raise ValueError("a track is a path")
        return {track: value.strip() for track, value in rows}
    except (OSError, ValueError) as error:
        raise CorpusError(f"{file}: expected lines of a track, a tab and its split ({error})") from None


def _has_downbeats(root: Path) -> bool:
    try:
        facts = plain_json.parse((root / INFO).read_bytes())
    except (OSError, ValueError):
        return True
    return not isinstance(facts, dict) or facts.get("has_downbeats") is not False


@cache
def shipped_lists(corpus: str) -> dict[str, tuple[str, str]]:
    """Split and fold of every track of a corpus, by the name of its file in the repository."""
    return {row["track"]: (row["split"], row["fold"]) for row in _all_lists() if row["corpus"] == corpus}


@cache
def _all_lists() -> list[dict[str, str]]:
    return shipped(LISTS)


def fold_rows(split: str, fold: str) -> Iterator[tuple[str, str]]:
    """The protocols that a track is in, and its split in each."""
    yield SPLIT, split
    yield TEST, TEST
    for tested in range(FOLDS) if fold else ():
        distance = (int(fold) - tested) % FOLDS
        yield f"fold{tested}", "test" if distance == 0 else "valid" if distance == 1 else "train"


def fold_counts(corpus: str) -> dict[str, dict[str, int]]:
    """Recordings of every split of the eight protocols of folds."""
    counts = {f"fold{tested}": {"train": 0, "valid": 0, "test": 0} for tested in range(FOLDS)}
    for split, fold in shipped_lists(corpus).values():
        for protocol, part in fold_rows(split, fold):
            if protocol in counts:
                counts[protocol][part] += 1
    return counts


def cells_of(beats: Beats | None, **cells: str) -> dict[str, str]:
    """Annotations of a track as a table has them: the tempo of its beats, where they have one, and what is given."""
    tempo = beats.tempo if beats is not None else None
    return cells if tempo is None else {"tempo": f"{tempo:.2f}", **cells}


def _read(annotations: BeatAnnotations, folder: Path | None) -> tuple[Item, ...]:
    """The tracks of the lists, annotated, and those left out of them that the folder has."""
    found = find_annotations(annotations, folder)
    items = []
    for track, (split, fold) in (found.lists or shipped_lists(annotations.corpus)).items():
        name = annotations.name_of(PurePosixPath(f"{track}.beats"))
        beats, why = found.beats(name)
        cells = cells_of(beats, **({"fold": fold} if fold else {}))
        rows = {protocol: ProtocolRow(part, cells) for protocol, part in fold_rows(split, fold)}
        items.append(Item(track.removeprefix(annotations.prefix), name, rows, beats=beats, refused=why))
    if items and all(item.beats is None for item in items):
        raise CorpusError(
            f"{folder}: none of the {len(items)} annotations of {annotations.corpus}; the first is {items[0].refused}"
        )
    left_out = [name for name in annotations.left_out if name in found.files]
    return (*items, *(Item(name, name, {}, refused=annotations.left_out[name]) for name in left_out))


def stem(path: PurePosixPath, *beginnings: str) -> str:
    """Name of a file without suffix, and without any of these beginnings, in any case."""
    name = path.stem
    for one in beginnings:
        if name.casefold().startswith(one):
            return name[len(one) :]
    return name
