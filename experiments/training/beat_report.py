"""The test of a network for beats: decoder by decoder and corpus by corpus, with intervals over tracks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from datasets.beat_files import write_beats
from datasets.beats import Beats
from datasets.csv_writing import write_records
from datasets.identity import result_names
from datasets.intervals import IntervalError, central
from datasets.text import aligned, pluralize, printable
from experiments import reports
from experiments.errors import UserError
from experiments.intervals import drawn
from experiments.messages import say
from experiments.objectives import Evaluation
from experiments.settings import RhythmSettings
from experiments.settings.rhythm import Decoder
from experiments.tasks.beat_scores import (
    COUNTS,
    KINDS,
    Table,
    means_over_tracks,
    resampled_tracks,
    score_decoded,
    selected,
)
from experiments.tasks.beats import BeatTracking
from experiments.tracking import RunHandle
from experiments.training.beat_decoders import compared
from models.files import replaced

if TYPE_CHECKING:
    from models.rhythm.decoded import Decoded

RESAMPLES = 1000
EVERYTHING, MEAN = "all tracks", "mean of corpora"
SHOWN = ("f1", "cmlt", "amlt")  # of beats and of downbeats, in the table of a terminal
FOLDER = "predictions_test"  # of the run's folder: the beats of every track


@dataclass(frozen=True)
class DecoderRow:
    """The scores of one decoder on the tracks of one corpus, or over corpora.

    Attributes:
        decoder: Its name.
        corpus: Of the tracks.
        scores: Means over the tracks, as `means_over_tracks` has them.
        ends: Low and high ends of their 95 % intervals over tracks; without those that there are too few tracks for.
    """

    decoder: str
    corpus: str
    scores: Mapping[str, float]
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def report(
    task: BeatTracking,
    evaluation: Evaluation,
    ids: Sequence[str],
    corpora: Sequence[str],
    rhythm: RhythmSettings,
    run: RunHandle,
    best: Decoder | None = None,
) -> dict[str, float]:
    """Score the test tracks with every decoder, print a table, and leave files with the run.

    Args:
        task: Scores.
        evaluation: Activations and annotated beats of the tracks.
        ids: Of all tracks of the split.
        corpora: Which corpus each of them is of; empty: one.
        rhythm: Decoders, the first of which gives the scores of the run; see `compared`.
        run: Gets the files.
        best: The decoder that was better in validation.

    Returns:
        `test/METRIC` of the first decoder, `test/DECODER/METRIC` of the others.

    Raises:
        UserError: No track can be scored, or an activation is not finite.
    """
    names = [ids[track] for track in evaluation.tracks]
    groups = np.array([corpora[track] for track in evaluation.tracks] if corpora else [""] * len(names))
    durations = [len(one) / task.grid.rate for one in evaluation.predictions]
    tables: dict[str, Table] = {}
    for number, decoder in enumerate(compared(rhythm, best)):
        decoded = task.decoded_by(rhythm.decoding(decoder)).all_events(evaluation.predictions)
        tables[decoder] = score_decoded(decoded, evaluation.references, durations)
        if run.is_global_zero and number == 0:
            _leave_beats(names, decoded, run)
        if not np.isfinite(tables[decoder]["beat_f1"]).any():
            raise UserError(f"{task.name}: no test track has annotated beats that can be scored")
    result: dict[str, float] = {}
    for number, (decoder, table) in enumerate(tables.items()):
        prefix = "test" if number == 0 else f"test/{decoder}"
        result |= {f"{prefix}/{name}": value for name, value in means_over_tracks(table).items()}
    if run.is_global_zero:
        rows = [row for decoder, table in tables.items() for row in rows_of(decoder, table, groups, run.seed)]
        print(text(rows))
        for row in rows:
            if row.corpus == EVERYTHING or len(set(groups.tolist())) == 1:
                say(_coherence(row))
        _leave_files(rows, tables, names, groups, run)
    return result


def rows_of(decoder: str, table: Table, groups: np.ndarray, seed: int) -> list[DecoderRow]:
    """A row for every corpus, and where there are several the mean of their means and one of all tracks together.

    Args:
        decoder: Name of the decoder.
        table: Scores of every track.
        groups: Which corpus each track is of, `[tracks]`.
        seed: Of the resamples.
    """
    corpora = sorted(set(groups.tolist()))
    if len(corpora) == 1:
        return [_row(decoder, corpora[0] or EVERYTHING, table, seed)[0]]
    found = [
        _row(decoder, corpus or "none named", selected(table, groups == corpus), seed + number)
        for number, corpus in enumerate(corpora)
    ]
    rows = [row for row, _ in found]
    return [*rows, _mean_row(decoder, found), _row(decoder, EVERYTHING, table, seed)[0]]


def text(rows: Sequence[DecoderRow]) -> str:
    """A line for beats and one for downbeats of every row: per cent, ends of the 95 % interval; error in ms."""
    lines = [("", "n", *(metric.upper() for metric in SHOWN), "median error", "left out")]
    for row in rows:
        for kind in KINDS:
            if f"{kind}_f1" not in row.scores:
                continue
            cells = (_cell(row, f"{kind}_{metric}") for metric in SHOWN)
            error = row.scores.get(f"{kind}_error", math.nan)
            unknown = row.scores["n_downbeats_unknown"] if kind == "downbeat" else 0.0
            left_out = row.scores[f"n_{kind}s_left_out"]
            n = row.scores["n_items"] - left_out - unknown
            name = f"{row.decoder}, {printable(row.corpus)}, {kind}s"
            missing = f"{left_out:.0f}" + f", {unknown:.0f} not annotated" * (unknown > 0)
            lines.append((name, f"{n:.0f}", *cells, f"{1000 * error:+.0f} ms" if error == error else "-", missing))
    return aligned(lines)


def _coherence(row: DecoderRow) -> str:
    jumps, repeated = row.scores["tempo_jumps"], row.scores["repeated_downbeats"]
    return (
        f"{row.decoder}, a track on average: the tempo doubles or halves {jumps:.2f} times, a downbeat follows on a "
        f"downbeat {repeated:.2f} times"
    )


def _cell(row: DecoderRow, metric: str) -> str:
    value = f"{100 * row.scores[metric]:.1f}"
    return value + " ({:.1f}-{:.1f})".format(*(100 * end for end in row.ends[metric])) if metric in row.ends else value


def _row(decoder: str, corpus: str, table: Table, seed: int) -> tuple[DecoderRow, dict[str, np.ndarray]]:
    """The row of some tracks, and the resamples that its intervals are of."""
    n = len(table[COUNTS[0]])
    parts = [resampled_tracks(table, weights) for weights in drawn(n, RESAMPLES, seed)]
    resampled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    scores = means_over_tracks(table)
    ends = _ends(resampled, {name: _scored(table, name) for name in resampled})
    return DecoderRow(decoder, corpus, scores, ends), resampled


def _mean_row(decoder: str, found: Sequence[tuple[DecoderRow, Mapping[str, np.ndarray]]]) -> DecoderRow:
    """The mean of the corpora that have a metric, each resampled for itself; counts are sums."""
    scores: dict[str, float] = {}
    resampled: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(name for row, _ in found for name in row.scores):
        values = [row.scores[name] for row, _ in found if name in row.scores]
        scores[name] = float(np.sum(values) if name.startswith("n_") else np.mean(values))
        parts = [part[name] for _, part in found if name in part]
        if parts:
            resampled[name] = np.mean(parts, axis=0)
    return DecoderRow(decoder, MEAN, scores, _ends(resampled, dict.fromkeys(resampled, int(scores["n_items"]))))


def _ends(resampled: Mapping[str, np.ndarray], n_items: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    ends = {}
    for name, values in resampled.items():
        try:
            ends[name] = central(name, values, n_items[name])
        except IntervalError:  # too few tracks
            continue
    return ends


def _scored(table: Table, name: str) -> int:
    """Tracks that a metric can be had of."""
    return int(np.isfinite(table[name if name in table else "beat_f1"]).sum())


def _leave_files(
    rows: Sequence[DecoderRow], tables: Mapping[str, Table], names: Sequence[str], groups: np.ndarray, run: RunHandle
) -> None:
    """A row a track and decoder as a table, the rows as JSON, and a picture."""
    table = run.directory / "beats_test.csv"
    columns = list(next(iter(tables.values())))
    records = (
        {"track": name, "corpus": group, "decoder": decoder}
        | {key: f"{scores[key][place]:.5g}" for key in columns if np.isfinite(scores[key][place])}
        for decoder, scores in tables.items()
        for place, (name, group) in enumerate(zip(names, groups.tolist(), strict=True))
    )
    write_records(table, ["track", "corpus", "decoder", *columns], records)
    document = run.directory / "beats_test.json"
    with replaced(document) as aside:
        content = {"tracks": len(names), "rows": [asdict(row) for row in rows]}
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    picture = run.directory / "beats_test.png"
    bars = {
        f"{row.decoder}, {row.corpus}, {kind}s": (row.scores[f"{kind}_f1"], *row.ends[f"{kind}_f1"])
        for row in rows
        for kind in KINDS
        if f"{kind}_f1" in row.ends
    }
    if bars:
        reports.comparison_bars(bars, "F-measure", picture, f"beats of {pluralize(len(names), 'track')}")
    for file in (table, document, *([picture] if bars else [])):
        run.add_artifact(file)
    say(f"scores of every track: {table}; the table: {document}; beats of every track: {run.directory / FOLDER}")


def _leave_beats(names: Sequence[str], decoded: Sequence[Decoded], run: RunHandle) -> None:
    """A file of beats for every track, below a folder as the tracks are below theirs; not where a name leaves it."""
    folder = run.directory / FOLDER
    files = result_names(names)
    for name, found in zip(names, decoded, strict=True):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            say(f"no file of beats for {printable(name)}: the name leads out of its folder")
            continue
        file = folder / f"{files[name]}.beats"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_beats(file, Beats(found.times, found.positions))
