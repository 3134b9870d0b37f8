"""A published corpus in miniature: composed music under the names of real recordings, in the published layout.

For trying what a command makes of a corpus before its audio is there, and for tests. The annotations are the published
ones, so that counts are asserted as for the whole; `only.txt` names the recordings that were rendered, which
`python -m preprocess CORPUS --only` cuts the corpus down to. Of corpora whose annotations do not come with the project,
annotations are made up, of the published size where one is known.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from datasets.corpora import Definition, Item, find
from datasets.demo.made_up_beats import make_up, repeated, whole_bars
from datasets.demo.made_up_labels import MADE_UP
from datasets.demo.make import build
from datasets.demo.output import write_text

TRACKS = {"train": 20, "valid": 10, "test": 10}
SECONDS, REST = 4.0, 1.5  # of a clip, and of what is left over behind two clips of a longer recording
BEAT_SECONDS = 15.0  # of a recording with beats
FORMATS = {".mp3": "MP3", ".wav": "WAV", ".flac": "FLAC"}
FASTER = {".mp3": {"compression_level": 0.99}}
PIECES, LONG_PIECES = 8, 3  # of the demo corpus; several recordings are the same music
CANDIDATES = 200  # recordings of a split that are looked at
ONLY = "only.txt"


def miniature(name: str, folder: Path, tracks: Mapping[str, int] = TRACKS, demo: Path | None = None) -> Path:
    """Write a miniature of a published corpus.

    Args:
        name: In `datasets.corpora.CORPORA`.
        folder: Made if absent; audio and `only.txt` go into it.
        tracks: How many recordings of every split.
        demo: A demo corpus; by default the tiny one in the cache.

    Returns:
        The list of recordings, which belongs to the whole family of the corpus.
    """
    definition = find(name)
    demo = build("tiny") if demo is None else demo
    if definition.least_seconds is not None:
        chosen = _with_beats(definition, folder, tracks, demo)
    else:
        chosen = _with_labels(definition, folder, tracks, demo)
    only = folder / ONLY
    before = only.read_text(encoding="utf-8") if only.is_file() else ""
    write_text(only, before + "".join(f"{identity}\n" for identity in chosen))
    return only


def _with_labels(definition: Definition, folder: Path, tracks: Mapping[str, int], demo: Path) -> list[str]:
    """Audio of recordings with labels; their ids."""
    metadata = MADE_UP[definition.name](folder) if definition.metadata else None
    chosen = choose(definition, definition.items(metadata), tracks)
    with (demo / "tracks.csv").open(newline="") as handle:
        rows = sorted(csv.DictReader(handle), key=lambda row: (row["genre"], row["path"]))
    longer = definition.clip_seconds
    distinct = PIECES if longer is None else LONG_PIECES
    pieces = [row["path"] for row in rows[:: max(len(rows) // distinct, 1)]][:distinct]
    seconds = SECONDS if longer is None else 2 * longer + REST
    written: dict[tuple[str, str], bytes] = {}
    for number, item in enumerate(chosen):
        place = folder / definition.place(item)
        place.parent.mkdir(parents=True, exist_ok=True)
        piece = pieces[number * len(pieces) // len(chosen)]
        if (piece, place.suffix) not in written:
            _write(place, demo / "audio" / piece, seconds)
            written[piece, place.suffix] = place.read_bytes()
        place.write_bytes(written[piece, place.suffix])
    return [item.id for item in chosen]


def _with_beats(definition: Definition, folder: Path, tracks: Mapping[str, int], demo: Path) -> list[str]:
    """Annotations of a corpus of beats, and audio of recordings with the beats of what is heard; their ids.

    What is damaged in the common copies of a corpus is damaged here, too.
    """
    with TemporaryDirectory() as aside:
        annotations = make_up(definition, Path(aside), {})
        items = [item for item in definition.items(annotations) if item.rows and not item.refused]
    chosen = choose(definition, items, tracks)
    damaged = [item for item in items if item.id in definition.known and definition.usable]
    pieces = [piece for piece in sorted((demo / "audio").glob("*.flac")) if whole_bars(piece)][:PIECES]
    true = {}
    for number, item in enumerate(chosen):
        samples, rate, true[item.id] = repeated(pieces[number % len(pieces)], BEAT_SECONDS)
        if definition.sample_rate:
            samples, rate = soxr.resample(samples, rate, definition.sample_rate), definition.sample_rate
        place = folder / definition.place(item)
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, samples, rate, format=FORMATS[place.suffix], **FASTER.get(place.suffix, {}))
    for item in damaged:
        place = folder / definition.place(item)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, "damaged\n")
    make_up(definition, folder, true)
    return sorted({item.id for item in [*chosen, *damaged]})


def choose(definition: Definition, items: Sequence[Item], tracks: Mapping[str, int]) -> list[Item]:
    """Recordings that have as many labels as so few can, sorted by what they are annotated with."""
    protocol = narrowest(definition)
    chosen = []
    for split, count in tracks.items():
        members = [item for item in items if protocol in item.rows and item.rows[protocol].split == split]
        labels = {item.id: _labels(item.rows[protocol].cells) for item in members}
        left, seen = _spread(members, CANDIDATES), Counter()
        for _ in range(min(count, len(left))):
            best = max(left, key=lambda item: sum(0.1 ** seen[label] for label in labels[item.id]))
            seen.update(labels[best.id])
            left.remove(best)
            chosen.append(best)
    return sorted(chosen, key=lambda item: (sorted(item.rows[protocol].cells.items()), item.id))


def narrowest(definition: Definition) -> str:
    """The protocol with the fewest recordings; of several, the one with the most splits."""
    return min(
        definition.counts, key=lambda name: (sum(definition.counts[name].values()), -len(definition.counts[name]))
    )


def _labels(cells: Mapping[str, str]) -> set[str]:
    return {label for name in ("tags", "genre", "key") for label in cells.get(name, "").split(";") if label}


def _spread(members: Sequence[Item], most: int) -> list[Item]:
    """At most so many of a list, in equal steps from its beginning."""
    return list(members[:: -(-len(members) // most)]) if members else []


def _write(place: Path, piece: Path, seconds: float) -> None:
    """A piece of the demo corpus as long as wanted: played again and again, each time a little louder."""
    samples, rate = soundfile.read(piece, dtype="float32")
    length = round(seconds * rate)
    times = -(-length // len(samples))
    gains = np.repeat(np.linspace(0.5, 1.0, times, dtype=np.float32), len(samples))
    soundfile.write(
        place,
        (np.tile(samples, times) * gains)[:length],
        rate,
        format=FORMATS[place.suffix],
        **FASTER.get(place.suffix, {}),
    )
