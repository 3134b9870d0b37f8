"""A copy of a published corpus to a store with its tables: verify, decode, write splits and annotations.

Beside the recordings, the store gets `tracks.csv` (the usual protocol; `tracks_NAME.csv` for others), which has every
recording of the protocol whether its audio was there or not, so that a run can report what is missing;
`missing.csv` with the reasons (`missing_CORPUS.csv` of corpora that share a table); and `corpus.json`, which says what
was published and what is here. Of a corpus whose recordings are checked first, tables have only those that pass,
`integrity.csv` has the verdict on each, and beats are in `beats/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.corpora import Definition, Item
from datasets.corpora.base import cut, resplit, within
from datasets.corpora.copies import MOST_ABSENT, Copy, verify, write_absent
from datasets.store import Store
from datasets.tables import CorpusError
from datasets.text import pluralize
from preprocess.build import build_store
from preprocess.build_report import BuildReport, changed_line
from preprocess.downloads import advice, download
from preprocess.integrity import check
from preprocess.protocols import Prepared, absent_file, family, write_tables


def prepare(
    definition: Definition,
    data_dir: Path,
    store_dir: Path,
    protocols: Sequence[str] = (),
    only: Path | None = None,
    metadata: Path | None = None,
    max_missing: float = MOST_ABSENT,
    fetch: bool = False,
    progress: bool = True,
    **options: Any,
) -> Prepared:
    """Make the store and the tables of a published corpus.

    Args:
        definition: The corpus.
        data_dir: The user's copy of its audio, in folders of any names.
        store_dir: The store; made, or added to.
        protocols: Which recordings are wanted; none: those of all protocols.
        only: A text file with the ids of recordings, one a line: all others are left out, of the tables too. The
            annotations are counted before.
        metadata: Folder of annotations, of a corpus that does not bring them.
        max_missing: Share of recordings that may be missing.
        fetch: Download and unpack what is missing.
        progress: Show bars.
        **options: Of `build_store`.

    Raises:
        CorpusError: Unknown protocol or id, no annotations, too many recordings missing or unreadable.
        AudioError, StoreError, ValueError: As `build_store`.
    """
    if not 0 <= max_missing <= 1:
        raise CorpusError(f"max_missing={max_missing}: give a share of the recordings, 0 to 1")
    if definition.clip_seconds and options.get("max_seconds"):
        raise CorpusError(
            f"{definition.title} is cut into clips of {definition.clip_seconds:g} s: leave max_seconds out"
        )
    chosen = [definition.protocol(name) for name in protocols] or list(definition.counts)
    folder = _metadata(definition, metadata, data_dir)
    wanted = _listed(definition, only, folder)
    every = definition.items(folder) if wanted is None else cut(definition.items(folder), wanted)
    items = within(every, chosen)
    if not items:
        raise CorpusError(f"{only}: none of its recordings is in {definition.title}, protocol {', '.join(chosen)}")
    notes: list[str] = []
    if fetch:
        download(definition, items, data_dir, notes.append, progress)
    copy = verify(definition, items, data_dir, _stored(store_dir))
    store_dir.mkdir(parents=True, exist_ok=True)
    write_absent(absent_file(definition, store_dir), items, copy.absent, chosen[0])
    if not copy.files:
        raise CorpusError(
            f"{data_dir}: nothing of {definition.title} in it ({len(items)} recordings wanted, {copy.foreign} other "
            f"audio files found): {advice(definition, items[0], data_dir)}{_offer(definition, fetch)}"
        )
    _refuse_gaps(definition, items, copy.absent, max_missing, store_dir, "" if fetch else _offer(definition, fetch))
    report = build_store(
        data_dir, store_dir, ids=copy.files, progress=progress, clip_seconds=definition.clip_seconds, **options
    )
    absent = copy.absent | dict(report.skipped)
    if definition.least_seconds is not None:
        absent = check(definition, every, copy.files, absent, store_dir)
        items = resplit(definition, items, absent)
    write_absent(absent_file(definition, store_dir), items, absent, chosen[0])
    _refuse_gaps(definition, items, absent, max_missing, store_dir, "")
    notes += _notes(copy, report)
    done = Prepared(definition, items, store_dir, report, absent=absent, cut_to=only, notes=notes)
    done.kind, done.version = Store(store_dir).header.kind, definition.named(folder)
    write_tables(done, chosen, folder, wanted)
    return done


def _notes(copy: Copy, report: BuildReport) -> Iterator[str]:
    if copy.repeated:
        yield f"{copy.repeated} files are there more than once, under other names: one of each was taken"
    if report.changed:
        yield changed_line(report, "another STORE_DIR")
    if report.noted:
        counted = pluralize(len(report.noted), "recording has a note", "recordings have a note")
        yield f"{counted}, most of files cut short: {report.store / 'notes.csv'}"


def _metadata(definition: Definition, given: Path | None, data_dir: Path) -> Path | None:
    """The folder of annotations, where one is needed.

    Raises:
        CorpusError: It is not found.
    """
    if not definition.metadata:
        return None
    name = definition.metadata_source.rpartition("/")[2]
    places = [given] if given else [data_dir, data_dir / name, data_dir.parent / name]
    for place in places:
        if definition.is_annotated(place):
            return place
    raise CorpusError(
        f"{definition.title}: its annotations do not come with this project; run {definition.metadata_source} and "
        f"give that folder with --metadata (looked for {definition.metadata} in {', '.join(map(str, places))})"
    )


def _listed(definition: Definition, only: Path | None, metadata: Path | None) -> frozenset[str] | None:
    """The ids of a list, which may name recordings of the whole family."""
    if only is None:
        return None
    try:
        lines = only.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{only}: no list of recordings can be read ({error})") from None
    ids = frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    known = {item.id for one in family(definition) for item in one.items(metadata)}
    if unknown := sorted(ids - known):
        raise CorpusError(
            f"{only}: {definition.title} has no recording {unknown[0]!r} ({len(unknown)} of {len(ids)} are unknown); "
            f"give ids such as {min(known)}, one a line"
        )
    return ids


def _stored(store_dir: Path) -> frozenset[str]:
    """Recordings that are stored."""
    if not (store_dir / "header.json").is_file():
        return frozenset()
    ids = Store(store_dir).ids
    return frozenset(ids) | {identity.rpartition("-")[0] for identity in ids}


def _offer(definition: Definition, fetch: bool) -> str:
    possible = not fetch and (definition.archives or definition.url)
    return "; --download fetches and unpacks what is missing" if possible else ""


def _refuse_gaps(
    definition: Definition,
    items: Sequence[Item],
    absent: Mapping[str, str],
    most: float,
    store_dir: Path,
    offer: str,
) -> None:
    share = len(absent) / len(items)
    if share > most:
        first = next(iter(absent))
        raise CorpusError(
            f"{definition.title}: {len(absent)} of {len(items)} recordings are missing or unreadable ({share:.1%}, "
            f"more than --max-missing={most:g}), for instance {first} ({absent[first]}); all are in "
            f"{absent_file(definition, store_dir)}. Complete the copy{offer}; or cut the corpus to a list of ids "
            f"(--only LIST), or allow more: figures are then those of another test"
        )
