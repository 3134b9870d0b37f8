"""What is known of a published corpus: its tracks, their splits, how its files are called, and where they come from."""

from __future__ import annotations

import csv
import io
import lzma
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from datasets.beats import Beats
from datasets.corpus import ANNOTATIONS, Corpus, Track
from datasets.splits import SPLITS
from datasets.tables import CorpusError

SHIPPED = Path(__file__).parent / "annotations"


@dataclass(frozen=True, slots=True)
class ProtocolRow:
    """What one protocol says of a track.

    Attributes:
        split: One of `SPLITS`.
        cells: Annotations as they are written in a table, by the names of `datasets.corpus.ANNOTATIONS`.
    """

    split: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Item:
    """A recording of a published corpus.

    Attributes:
        id: In stores and tables; of a corpus that is cut into clips, what stands before `-0`, `-1`, ...
        name: What its file is called, in the form that `Definition.name_of` gives.
        rows: By protocol; a recording that a protocol leaves out is absent there.
        jukemir: Its id in features computed by jukemir, of a corpus cut into clips what stands before `-0`.
        beats: Annotated ones.
        refused: Why it cannot be used, whatever its audio is; empty where it can.
        facts: Annotations of one that no protocol has.
    """

    id: str
    name: str
    rows: Mapping[str, ProtocolRow]
    jukemir: str = ""
    beats: Beats | None = None
    refused: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> Mapping[str, str]:
        """Its annotations in the first protocol that has it."""
        return next((row.cells for row in self.rows.values()), self.facts)


@dataclass(frozen=True)
class CorpusFile:
    """A published file.

    Attributes:
        name: Under which it is kept.
        url: Where it is, or was.
        sha256: Of its bytes.
        promised: Whether its host keeps these bytes; archives that are packed on demand change.
    """

    name: str
    url: str
    sha256: str
    promised: bool = True


@dataclass(frozen=True)
class Archive:
    """One archive, whole or in parts.

    Attributes:
        parts: In order.
        into: Folder below the corpus folder that it is unpacked into.
    """

    parts: tuple[CorpusFile, ...]
    into: str = ""


@dataclass(frozen=True)
class Definition:
    """A published corpus.

    Attributes:
        name: On the command line.
        title: As people say it.
        read: Folder of annotations (None: those that come with the project) to the recordings.
        counts: Recordings of every split, by protocol, as published; empty where the annotations say it. The first
            protocol is the usual one.
        name_of: Path of an audio file below the corpus folder to the name of the recording it can be.
        place: Where the audio of a recording lies below the corpus folder when it was unpacked as published.
        source: Where the audio is to be had, for a person.
        terms: Licence or terms of the audio, in a few words.
        protocols: What the protocols are, in a few words.
        archives: Of the audio, and of files that go with it.
        url: Of the audio of one recording, with `{name}`, where it is published file by file.
        clip_seconds: Recordings are cut into clips of this length; None: they are clips.
        clips: Clips of every split, as published.
        known: What is known to be wrong with a recording, by id.
        family: The corpora that make one table with this one.
        metadata: A file that tells the folder of annotations; empty where they come with the project.
        metadata_source: Where that folder is to be had, for a person.
        holds: Whether a folder is one of annotations; None: where it has the file `metadata`.
        version: Of a folder of annotations, what they are called: figures on some are not those on others.
        least_seconds: Every recording is checked before the splits are written, and refused where it is silent or
            shorter than this; None: not checked.
        sample_rate: Of the published audio, Hz; None: not known, or not one.
        resplit: Splits that depend on which recordings pass the check: of a protocol, all that pass to splits by id.
        usable: Recordings of every split that pass in the common copies, by protocol, where these are not all.
    """

    name: str
    title: str
    read: Callable[[Path | None], tuple[Item, ...]]
    counts: Mapping[str, Mapping[str, int]]
    name_of: Callable[[PurePosixPath], str]
    place: Callable[[Item], str]
    source: str
    terms: str
    protocols: Mapping[str, str] = field(default_factory=dict)
    archives: tuple[Archive, ...] = ()
    url: str = ""
    clip_seconds: float | None = None
    clips: Mapping[str, int] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    family: tuple[str, ...] = ()
    metadata: str = ""
    metadata_source: str = ""
    holds: Callable[[Path], bool] | None = None
    version: Callable[[Path], str] | None = None
    least_seconds: float | None = None
    sample_rate: int | None = None
    resplit: Mapping[str, Callable[[Sequence[Item]], Mapping[str, str]]] = field(default_factory=dict)
    usable: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def published(self, protocol: str) -> Mapping[str, int]:
        """Recordings of every split that a complete copy gives."""
        return self.usable.get(protocol, self.counts[protocol])

    def is_annotated(self, folder: Path) -> bool:
        """Whether a folder holds the annotations of a corpus that does not bring them."""
        return self.holds(folder) if self.holds else (folder / self.metadata).is_file()

    def protocol(self, name: str | None = None) -> str:
        """The protocol of this name; None: the usual one.

        Raises:
            CorpusError: There is none of this name.
        """
        if name is None:
            return next(iter(self.counts))
        if name not in self.counts:
            raise CorpusError(f"{self.title} has no protocol {name!r}; valid: {', '.join(self.counts)}")
        return name

    def items(self, metadata: Path | None = None) -> tuple[Item, ...]:
        """All recordings, counted.

        Args:
            metadata: Folder of annotations, for a corpus whose licence keeps them from coming with the project.

        Raises:
            CorpusError: The annotations are not there, or are not the published ones.
        """
        items = self.read(metadata)
        for protocol, published in self.counts.items():
            found = sizes(items, protocol)
            if published and found != dict(published):
                raise CorpusError(
                    f"{self.title}, protocol {protocol}: {_listed(found)} in {metadata or SHIPPED}, published are "
                    f"{_listed(published)}; these are other annotations, or damaged ones"
                )
        return items

    def corpus(self, protocol: str | None = None, metadata: Path | None = None) -> Corpus:
        """Recordings, splits and annotations of one protocol.

        Raises:
            CorpusError: As `items` and `protocol`.
        """
        name = self.protocol(protocol)
        return replace(as_corpus(f"{self.name}/{name}", self.items(metadata), name), version=self.named(metadata))

    def named(self, metadata: Path | None) -> str:
        """What the annotations of a folder are called; empty for a corpus of which there are no others."""
        return self.version(metadata) if self.version and metadata else ""


def as_corpus(name: str, items: Iterable[Item], protocol: str) -> Corpus:
    """The recordings that a protocol has, with parsed annotations."""
    tracks = []
    for item in items:
        if row := item.rows.get(protocol):
            parsed = {key: ANNOTATIONS.get(key, str)(cell) for key, cell in row.cells.items() if cell != ""}
            parsed |= {} if item.beats is None else {"beats": item.beats}
            tracks.append(Track(item.id, row.split, parsed))
    return Corpus(name, tuple(tracks))


def sizes(items: Iterable[Item], protocol: str) -> dict[str, int]:
    """Recordings in every split that has any, in the order of `SPLITS`."""
    counted = Counter(row.split for item in items if (row := item.rows.get(protocol)))
    return {split: counted[split] for split in SPLITS if counted[split]}


def cut(items: Sequence[Item], wanted: Iterable[str]) -> tuple[Item, ...]:
    """Only the recordings with these ids, in their own order."""
    kept = frozenset(wanted)
    return tuple(item for item in items if item.id in kept)


def within(items: Sequence[Item], protocols: Sequence[str]) -> tuple[Item, ...]:
    """Only the recordings of these protocols, without what others say of them."""
    chosen = (replace(item, rows={name: item.rows[name] for name in protocols if name in item.rows}) for item in items)
    return tuple(item for item in chosen if item.rows)


def resplit(definition: Definition, items: Sequence[Item], absent: Container[str]) -> tuple[Item, ...]:
    """The recordings, in protocols whose splits depend on which can be used split without the absent ones."""
    for protocol, assign in definition.resplit.items():
        there = [item for item in items if item.id not in absent and protocol in item.rows]
        split = assign(there)
        rows = {item.id: ProtocolRow(split[item.id], item.rows[protocol].cells) for item in there}
        items = [
            replace(item, rows={**item.rows, protocol: rows[item.id]}) if item.id in rows else item for item in items
        ]
    return tuple(items)


def shipped(name: str) -> list[dict[str, str]]:
    """Rows of a table of annotations that comes with the project."""
    content = (SHIPPED / name).read_bytes()
    text = (lzma.decompress(content) if name.endswith(".xz") else content).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def numbered(stem: str) -> str:
    """The number that a file's name begins with, without leading zeros; empty where there is none."""
    digits = stem[: len(stem) - len(stem.lstrip("0123456789"))]
    return str(int(digits)) if digits else ""


def _listed(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{count} {split}" for split, count in counts.items()) or "none"
