"""Beats and downbeats on a folder of music: trained networks beside Essentia, madmom and BeatNet, on the same clips.

    python -m benchmarks.beats AUDIO_DIR TABLE [--checkpoints FILE ...] [--decoders peaks dbn] [--peers FOLDER]
                               [--kinds COLUMN] [--estimates NAME=FOLDER ...] [--out FOLDER]

TABLE has a column of paths below AUDIO_DIR, beside each of which lies its file of beats; `--kinds` names the column
that says what kind of music it is, `name` takes the letters that file names begin with. What other programs found
comes in as folders of files of beats, laid out as the audio is. Scores are those of `ex_transfer.py evaluate`: means
over clips from five seconds on, by kind and together, with 95 % intervals over clips. A program without bars has no
downbeats to score.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.beat_peers import Finder, essentia, from_folder
from benchmarks.tempo import named
from datasets.beat_files import read_beats, write_beats
from datasets.beats import Beats
from datasets.columns import find
from datasets.csv_writing import write_table
from datasets.intervals import IntervalError, SystemScores, differences
from datasets.progress import progress
from datasets.tables import read_sheet
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.intervals import drawn
from experiments.settings.rhythm import RhythmSettings
from experiments.tasks.beat_scores import KINDS, Table, resampled_tracks, score_decoded
from experiments.tasks.beats import BeatTracking
from experiments.training.beat_report import RESAMPLES, DecoderRow, rows_of, text
from models.rhythm.decoded import Decoded
from preprocess.decode import load
from preprocess.sources import AudioError

COMPARED = ("beat_f1", "downbeat_f1")


@dataclass(frozen=True)
class Clip:
    """A piece of music with annotated beats."""

    id: str
    file: Path
    kind: str
    beats: Beats
    seconds: float


def clips_of(folder: Path, table: Path, kinds: str) -> list[Clip]:
    """Those of a table that have both audio and beats."""
    sheet = read_sheet(table)
    (path,) = find(sheet, "path", ("path",))
    column = None if kinds == "name" else sheet.column(kinds)
    if kinds != "name" and column is None:
        raise SystemExit(f"--kinds {kinds}: {table} has no such column; there are {', '.join(sheet.columns)}, and name")
    clips = []
    for _, cells in sheet.rows:
        identity = str(cells[path])
        file = folder / identity
        annotated = file.with_suffix(".beats")
        if file.is_file() and annotated.is_file():
            kind = re.match("[A-Za-z]*", file.stem)[0] if column is None else str(cells.get(column) or "")
            beats = read_beats(annotated).beats
            clips.append(Clip(identity, file, kind or "none named", beats, soundfile.info(file).duration))
    if not clips:
        raise SystemExit(f"{table}: no row with audio below {folder} and a file of beats beside it")
    return clips


def network(checkpoint: str, decoders: Sequence[str]) -> dict[str, Finder]:
    """A trained network for beats with each decoder; the activations of a clip are computed once."""
    encoder = Encoder.load(checkpoint)
    if not isinstance(encoder.task, BeatTracking):
        raise SystemExit(f"{checkpoint}: a network of {encoder.task.name}, not of beats")
    tasks = {name: encoder.task.decoded_by(RhythmSettings().decoding(name)) for name in decoders}
    known: dict[Path, np.ndarray] = {}

    def found(file: Path, decoder: str) -> Beats:
        if file not in known:
            rate = encoder.frontend.sample_rate
            known[file] = encoder.predict(load(file, rate), rate).over_time
        events = tasks[decoder].events(known[file])
        return Beats(events.times, events.positions)

    return {name: partial(found, decoder=name) for name in decoders}


def of_folder(folder: Path, audio: Path) -> Finder:
    """What another program left in files of beats."""
    return lambda file: read_beats((folder / file.relative_to(audio)).with_suffix(".beats")).beats


def finders(arguments: argparse.Namespace) -> Iterator[tuple[str, Finder]]:
    """All rows by name, the networks first."""
    for name, checkpoint in named(arguments.checkpoints).items():
        for decoder, finder in network(checkpoint, arguments.decoders).items():
            yield f"{name}, {decoder}", finder
    try:
        yield "Essentia", essentia()
    except ImportError:
        print("Essentia is not installed: pip install -r requirements-peers.txt")
    if arguments.peers:
        yield from from_folder(arguments.peers).items()
    for name, folder in named(arguments.estimates).items():
        yield name, of_folder(Path(folder), arguments.audio)


def measured(name: str, finder: Finder, clips: Sequence[Clip], folder: Path) -> Table:
    """The scores of every clip; leaves the beats that were found in a folder that `--estimates` can read."""
    found, start = [], time.perf_counter()
    with progress(name, len(clips), "clips") as advance:
        for clip in clips:
            try:
                beats = finder(clip.file)
            except (AudioError, UserError, OSError, RuntimeError, ValueError) as error:
                print(f"{name}: {clip.id}: {error}")
                beats = Beats(np.empty(0), None)
            found.append(beats)
            file = (folder / re.sub(r"\W+", "_", name) / clip.id).with_suffix(".beats")
            file.parent.mkdir(parents=True, exist_ok=True)
            write_beats(file, beats)
            advance()
    print(f"{name}: {time.perf_counter() - start:.1f} s")
    decoded = [
        Decoded(one.times, np.zeros(len(one), np.int64) if one.positions is None else one.positions, np.ones(len(one)))
        for one in found
    ]
    table = dict(score_decoded(decoded, [clip.beats for clip in clips], [clip.seconds for clip in clips]))
    if not any(one.has_downbeats for one in found):
        table |= {metric: np.full(len(clips), np.nan) for metric in table if metric.startswith("downbeat_")}
    return table


def ahead(tables: Mapping[str, Table], n: int) -> str:
    """How far the first row is ahead of each other one, all clips together, paired; a line each."""
    first, *others = tables
    drawings = list(drawn(n, RESAMPLES, 0))
    resampled = {
        name: {
            metric: np.concatenate(
                [resampled_tracks(one, part).get(metric, np.full(len(part), np.nan)) for part in drawings]
            )
            for metric in COMPARED
        }
        for name, one in tables.items()
    }
    lines = []
    for name in others:
        said = []
        for metric in COMPARED:
            pair = {
                one: SystemScores([float(np.nanmean(tables[one][metric]))], resampled[one][metric])
                for one in (first, name)
                if np.isfinite(tables[one][metric]).any()
            }
            if len(pair) < 2:
                continue
            try:
                found = differences(pair, n, "ap")[first, name]
            except IntervalError:
                continue
            chance = "" if found.more_than_chance else ", may be chance"
            said.append(
                f"{metric} {100 * found.ahead:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}){chance}"
            )
        lines.append(f"{first} ahead of {name}: {'; '.join(said)}")
    return "\n".join(lines)


def summary(rows: Sequence[DecoderRow]) -> str:
    """F-measures by kind, in columns: the numbers that are compared with other reports."""
    kinds = list(dict.fromkeys(row.corpus for row in rows))
    lines = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name in dict.fromkeys(row.decoder for row in rows):
        for kind in KINDS:
            scores = [
                next((row.scores.get(f"{kind}_f1") for row in rows if (row.decoder, row.corpus) == (name, one)), None)
                for one in kinds
            ]
            if any(one is not None for one in scores):
                cells = " | ".join("-" if one is None else f"{one:.2f}" for one in scores)
                lines.append(f"| {name}, {kind}s | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the tables, and leaves them, a row a clip, and the beats of every program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="folder of the audio, each file with its beats beside it")
    parser.add_argument("table", type=Path, help="paths, and kinds of music")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="[NAME=]FILE", help="files, or folders of runs")
    parser.add_argument("--decoders", nargs="*", default=["peaks", "dbn"], help="of the networks")
    parser.add_argument("--kinds", default="kind", help="column of the kinds, or `name`")
    parser.add_argument("--peers", type=Path, help="folder with madmom, BeatNet or both; their code is run")
    parser.add_argument("--estimates", nargs="*", default=[], metavar="NAME=FOLDER", help="what other programs found")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/beats"), help="folder of what is left")
    arguments = parser.parse_args()
    clips = clips_of(arguments.audio, arguments.table, arguments.kinds)
    kinds = np.array([clip.kind for clip in clips])
    tables = {name: measured(name, finder, clips, arguments.out) for name, finder in finders(arguments)}
    rows = [row for name, table in tables.items() for row in rows_of(name, table, kinds, 0)]
    printed = f"{text(rows)}\n\n{ahead(tables, len(clips))}\n\n{summary(rows)}"
    print(printed)
    (arguments.out / "beats.txt").write_text(printed + "\n", encoding="utf-8")
    (arguments.out / "beats.json").write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    columns = list(next(iter(tables.values())))
    each = (
        [clip.id, clip.kind, name, *(table[column][number] for column in columns)]
        for name, table in tables.items()
        for number, clip in enumerate(clips)
    )
    write_table(arguments.out / "beats.csv", ["clip", "kind", "system", *columns], each)


if __name__ == "__main__":
    main()
