"""What stands beside the stored recordings of a published corpus: a table a protocol, and what was published."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import plain_json
from datasets.beat_files import write_beats
from datasets.corpora import CORPORA, Definition, Item, integrity
from datasets.corpora.base import cut, sizes, within
from datasets.corpora.copies import write_rows
from datasets.store import Store
from datasets.store_files import replace_file
from preprocess.build_report import BuildReport
from preprocess.files import clip_id

ABOUT = "corpus.json"
BEATS = "beats"
MOST_SHOWN = 10
MOST_PROTOCOLS, FIRST_PROTOCOLS = 4, 2  # of more than the one, the other are shown with their counts
TOGETHER = "giantsteps"  # the folder of corpora that make one table
BY_PROTOCOL = ("jamendo",)  # corpora of which the usual protocol, too, has its name in that of its named config


@dataclass
class Prepared:
    """What became of a corpus.

    Attributes:
        definition: The corpus.
        items: The recordings wanted.
        store: Folder of the store.
        report: Of the store.
        tables: By protocol.
        absent: Recordings that are not stored, and why.
        counts: Stored recordings, by protocol and split.
        clips: Clips by split, where recordings are cut into clips.
        cut_to: The list that recordings were chosen by.
        notes: What else to know.
        kind: Of the store.
        version: What the annotations are called.
    """

    definition: Definition
    items: tuple[Item, ...]
    store: Path
    report: BuildReport
    tables: dict[str, Path] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)
    cut_to: Path | None = None
    notes: list[str] = field(default_factory=list)
    kind: str = "mel"
    version: str = ""


def family(definition: Definition) -> list[Definition]:
    """The corpora that make one table with this one, itself among them."""
    return [CORPORA[name] for name in definition.family or (definition.name,)]


def absent_file(definition: Definition, store_dir: Path) -> Path:
    """The list of recordings that are not stored; corpora that share a store have one each."""
    return store_dir / (f"missing_{definition.name}.csv" if definition.family else "missing.csv")


def write_tables(
    done: Prepared, protocols: Sequence[str], metadata: Path | None, wanted: frozenset[str] | None
) -> None:
    """Tables of every protocol, and what there is to say of them; fills in `done`."""
    definition = done.definition
    clips = _clips(done.store) if definition.clip_seconds else {}
    for protocol in protocols:
        rows: list[dict[str, str]] = []
        for one in family(definition):
            items = within(_listed(done, one, metadata, wanted), [protocol])
            rows += [row for item in items for row in _rows(one, item, protocol, clips)]
        columns = tuple(dict.fromkeys(name for row in rows for name in row))
        usual = protocol == definition.protocol()
        file = done.store / ("tracks.csv" if usual else f"tracks_{protocol}.csv")
        write_rows(file, columns, [[row.get(column, "") for column in columns] for row in rows])
        done.tables[protocol] = file
        present = [item for item in done.items if item.id not in done.absent]
        done.counts[protocol] = sizes(present, protocol)
        if definition.clip_seconds:
            done.clips = _clip_counts(present, protocol, clips)
    _write_beats(done)
    _write_about(done)


def _listed(
    done: Prepared, definition: Definition, metadata: Path | None, wanted: frozenset[str] | None
) -> Sequence[Item]:
    """The recordings that tables have: of a corpus whose recordings are checked, those that passed."""
    if definition.least_seconds is not None:
        return [item for item in done.items if item.id not in done.absent]
    items = definition.items(metadata)
    return items if wanted is None else cut(items, wanted)


def _write_beats(done: Prepared) -> None:
    """A file of beats for every recording that is stored and has them."""
    annotated = [item for item in done.items if item.beats is not None and item.id not in done.absent]
    if annotated:
        (done.store / BEATS).mkdir(exist_ok=True)
    for item in annotated:
        write_beats(done.store / _beats_of(item), item.beats)


def _beats_of(item: Item) -> str:
    """Where the beats of a recording lie below the store."""
    return f"{BEATS}/{item.id}.beats"


def _clips(store_dir: Path) -> dict[str, list[int]]:
    """Numbers of the stored clips of every recording, in order; what else is in the store is no clip."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for identity in Store(store_dir).ids:
        recording, _, number = identity.rpartition("-")
        if number.isdecimal():
            numbers[recording].append(int(number))
    return {recording: sorted(found) for recording, found in numbers.items()}


def _clip_counts(items: Sequence[Item], protocol: str, clips: Mapping[str, Sequence[int]]) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for item in items:
        counts[item.rows[protocol].split] += len(clips.get(item.id, ()))
    return dict(counts)


def _rows(
    definition: Definition, item: Item, protocol: str, clips: Mapping[str, Sequence[int]]
) -> Iterator[dict[str, str]]:
    """The lines of a recording: one, or one a clip; of a recording that is not stored, its first clip."""
    row = item.rows[protocol]
    jukemir = {"jukemir": item.jukemir} if item.jukemir else {}
    beats = {} if item.beats is None else {"beats": _beats_of(item)}
    if definition.clip_seconds is None:
        yield {"path": item.id, "split": row.split, **row.cells, **beats, **jukemir}
        return
    for number in clips.get(item.id, (0,)):
        path = clip_id(item.id, number)
        yield {
            "path": path,
            "split": row.split,
            **row.cells,
            "group": item.id,
            "jukemir": clip_id(item.jukemir, number),
        }


def _write_about(done: Prepared) -> None:
    """Enter the corpus into `corpus.json`."""
    file = done.store / ABOUT
    try:
        known = plain_json.parse(file.read_bytes())
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    definition = done.definition
    known[definition.name] = {
        "title": definition.title,
        "terms": definition.terms,
        **({"annotations": done.version} if done.version else {}),
        "protocols": {
            name: {
                "about": definition.protocols.get(name, ""),
                "table": done.tables[name].name,
                "published": dict(definition.published(name)),
                "stored": counts,
            }
            for name, counts in done.counts.items()
        },
        "clips": done.clips,
        "absent": len(done.absent),
        "cut_to": done.cut_to.name if done.cut_to else None,
    }
    replace_file(file, (json.dumps(known, indent=2) + "\n").encode())


def summary(done: Prepared) -> Iterator[str]:
    """Lines that say what is stored, what is not and why, and what to do next."""
    definition, report = done.definition, done.report
    present = len(done.items) - len(done.absent)
    hours = f"{report.seconds / 3600:.2f} hours"
    available = f"{present} of {len(done.items)} recordings are stored in {done.store}"
    yield f"{definition.title}: {available} ({report.written} new, {hours})"
    if done.cut_to:
        yield f"  cut to the list {done.cut_to}: not a published test"
    shown = list(done.counts) if len(done.counts) <= MOST_PROTOCOLS else list(done.counts)[:FIRST_PROTOCOLS]
    for name in shown:
        counts = done.counts[name]
        listed = ", ".join(f"{count} {split}" for split, count in counts.items())
        yield f"  {name} ({definition.protocols.get(name, '')}): {listed}, {_whole(done, name)}; {done.tables[name]}"
    if further := list(done.counts)[len(shown) :]:
        yield f"  {', '.join(further)}: {done.store}/tracks_NAME.csv"
    if definition.clip_seconds:
        listed = ", ".join(f"{count} {split}" for split, count in done.clips.items())
        published = ", ".join(f"{count} {split}" for split, count in definition.clips.items())
        yield f"  clips of {definition.clip_seconds:g} s: {listed} (published: {published})"
    if definition.least_seconds is not None:
        yield f"  annotations: {done.version}; every recording with its verdict: {done.store / integrity.FILE}"
    split_of = {item.id: next(iter(item.rows.values())).split for item in done.items}
    for identity, reason in list(done.absent.items())[:MOST_SHOWN]:
        known = f"; {definition.known[identity]}" if identity in definition.known else ""
        yield f"  not stored: {identity} ({split_of[identity]}): {reason}{known}"
    if done.absent:
        yield f"  {len(done.absent)} not stored, all listed in {absent_file(definition, done.store)}"
    yield from (f"  {note}" for note in done.notes)
    if definition.least_seconds is not None:
        yield f"next: python ex_transfer.py describe with {_target(done)}"
    elif done.kind == "audio":
        yield f"next: python ex_transfer.py with NETWORK datamodule.base_dir={shlex.quote(str(done.store))}"
    else:
        yield f"next: python ex_pretrain.py extract_embeddings with maest_30s_inference {_target(done)}"


def _whole(done: Prepared, protocol: str) -> str:
    """Whether the stored recordings of a protocol are those that everybody has."""
    counts, definition = done.counts[protocol], done.definition
    if counts == dict(definition.published(protocol)):
        return "as published"
    if not definition.counts[protocol]:
        return "all that is annotated" if counts == sizes(done.items, protocol) else "not all that is annotated"
    if counts == dict(definition.counts[protocol]):
        usual = ", ".join(f"{count} {split}" for split, count in definition.published(protocol).items())
        return f"all that is annotated (with the common copies {usual})"
    return "not the published test"


def _target(done: Prepared) -> str:
    """What names the store on a command line: the named config that looks for it there, else its folder."""
    definition = done.definition
    folder = TOGETHER if definition.family else definition.name
    protocol, kind = next(iter(done.tables)), "mels" if definition.least_seconds is None else "audio"
    if done.store.resolve() != Path("data", folder, kind).resolve():
        return f"datamodule.base_dir={shlex.quote(str(done.store))}"
    if len(definition.counts) > MOST_PROTOCOLS and protocol != definition.protocol():  # without a config of its own
        return f"target_{folder} datamodule.groundtruth={shlex.quote(str(done.tables[protocol]))}"
    several = len(definition.counts) > 1 and (protocol != definition.protocol() or definition.name in BY_PROTOCOL)
    return f"target_{folder}_{protocol}" if several else f"target_{folder}"
