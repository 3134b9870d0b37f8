"""What a sweep shows and leaves in its run: table, points of the grids, pictures, chosen probes, child runs."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.csv_writing import RecordWriter
from datasets.text import pluralize
from experiments import reports
from experiments.class_report import write_test_report
from experiments.messages import say
from experiments.probes.layers import layer_picture
from experiments.probes.records import save_predictions, write_scores
from experiments.probes.rows import Row, ahead_of
from experiments.probes.sweep import Outcome, thinned
from experiments.probes.sweep_files import Record
from experiments.tasks.base import Task
from experiments.tracking import ChildRun, RunHandle
from models.probes.grids import ProbeConfig

MOST_POINTS = 1000  # of the curves of a run
MOST_BARS = 24
MOST_CELLS = 1500  # of the picture of a grid
FEW = 10  # test tracks, with which no difference means anything
POINTS = "probes.csv"
COMPARISON = "comparison.csv"
TABLE = "comparison.txt"
RESULTS = ("value", "loss", "best_step", "stop_step", "failure")
SHORT = {"standardise": "scaled", "batch_size": "batch", "learning_rate": "lr", "hidden": "hidden", "dropout": "drop"}


class Trained(NamedTuple):
    """A grid that was trained: its task, the label of its row, its seed and what it ended with."""

    task: str
    label: str
    seed: int
    outcome: Outcome


def format_table(rows: Sequence[Row], best: Mapping[str, Row], ahead: Mapping[str, str] | None = None) -> str:
    """The rows as text: a block a task, a line a row, a column a metric in per cent, and how far the best is ahead.

    Args:
        rows: Of all tasks.
        best: The row of the best embeddings by task, which the others are compared with.
        ahead: Further comparisons, an encoder with another one: a line each below the table of a task that has both.
    """
    lines = []
    for task, of_task in _by_task(rows).items():
        metrics, main = list(of_task[0].metrics), best[task]
        width = max(20, *(len(row.label) + 2 for row in of_task))
        lines += ["", f"{_tested(main)}; per cent ± half of the 95 % interval over {_over(main)}"]
        lines.append(" " * width + _cells([*metrics, f"{main.label} better by"]))
        for row in of_task:
            cells = [reports.with_interval(*measured) for measured in row.metrics.values()]
            if row is not main:
                cells.append(_gap(main, row))
            lines.append(f"{row.label:<{width}}" + _cells(cells))
        if main.score.n < FEW:
            lines.append(f"too few test {main.score.unit} to compare anything: {main.score.n}")
        for one, other in (ahead or {}).items():
            pair = [_best_of(encoder, of_task) for encoder in (one, other)]
            if all(pair):
                lines.append(f"{pair[0].label} better than {pair[1].label} by {_gap(*pair)}")
    return "\n".join(lines)


def _gap(row: Row, other: Row) -> str:
    """How far a row is ahead of another one, in per cent, with its interval."""
    gap = ahead_of(row, other)
    chance = "" if gap.more_than_chance else "  may be chance"
    return f"{100 * gap.ahead:+z.1f} ({100 * gap.low:+z.1f} to {100 * gap.high:+z.1f}){chance}"


def _best_of(encoder: str, rows: Sequence[Row]) -> Row | None:
    """The row of an encoder, of several the one that is best on validation."""
    return max((row for row in rows if row.score.encoder == encoder), key=lambda row: row.score.valid, default=None)


def _by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {task: [row for row in rows if row.score.task == task] for task in dict.fromkeys(r.score.task for r in rows)}


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"{cell:<18}" for cell in cells).rstrip()


def _tested(row: Row) -> str:
    return f"{row.score.task}, {row.score.n} test {row.score.unit}"


def _over(row: Row) -> str:
    seeds = len(row.score.seeds)
    return f"{row.score.unit} and {seeds} seeds" if seeds > 1 else row.score.unit


def write_rows(rows: Sequence[Row], best: Mapping[str, Row], text: str, run: RunHandle) -> None:
    """Attach the rows: pictures, the table as text and as CSV, and what the leaderboard reads.

    Args:
        rows: Of all tasks.
        best: The row of the best embeddings by task, which the others are compared with.
        text: Of `format_table`.
        run: Gets the files.
    """
    for task, of_task in _by_task(rows).items():
        main = best[task]
        bars = {row.label: row.metrics[main.score.metric] for row in of_task[:MOST_BARS]}
        path = run.directory / f"probes_{task}.png"
        run.add_artifact(reports.comparison_bars(bars, main.score.metric, path, _tested(main), _over(main)))
        picture = layer_picture(of_task, run.directory / f"layers_{task}.png", _tested(main), _over(main))
        if picture:
            run.add_artifact(picture)
    path = run.directory / COMPARISON
    with path.open("w", newline="", encoding="utf-8") as handle:
        names = ("task", "representation", "metric", "value", "low", "high", "behind", "behind_low", "behind_high", "n")
        writer = RecordWriter(handle, names)
        writer.writeheader()
        for row in rows:
            main = best[row.score.task]
            gap = None if row is main else ahead_of(main, row)
            for metric, (value, low, high) in row.metrics.items():
                line = {"task": row.score.task, "representation": row.label, "metric": metric, "n": row.score.n}
                line |= {"value": value, "low": low, "high": high}
                if gap is not None and metric == row.score.metric:
                    line |= {"behind": gap.ahead, "behind_low": gap.low, "behind_high": gap.high}
                writer.writerow(line)
    run.add_artifact(path)
    table = run.directory / TABLE
    table.write_text(text.lstrip() + "\n", encoding="utf-8")
    run.add_artifact(table)
    for row in rows:
        run.add_artifact(save_predictions(run.directory / row.score.predictions, row.ids, row.by_seed, row.references))
    write_scores([row.score for row in rows], run)


def write_chosen(task: Task, row: Row, outcome: Outcome, train: np.ndarray, tasks: int, run: RunHandle) -> None:
    """Attach the chosen probe of a task, its curve, its figures by class, and the picture of its grid.

    Args:
        task: It solves.
        row: Of the table.
        outcome: Of its grid.
        train: Stacked targets of the tracks it learned from.
        tasks: Of the run, which share the points of its curves.
        run: Gets the files.
    """
    probe = outcome.probe
    for step, value in thinned(probe.curve, probe.best_step, MOST_POINTS // tasks):
        run.log_scalar(f"probe/{task.name}_{task.primary}", value, step)
    system = row.label + (f", seed {probe.seed}" if len(row.by_seed) > 1 else "")
    write_test_report(task, row.by_seed[0], row.references, run, train, f"_{task.name}", system)
    run.add_artifact(probe.save(run.directory / f"probe_{task.name}.safetensors"))
    picture = run.directory / f"grid_{task.name}.png"
    if grid_picture(outcome.records, task.primary, picture, f"{task.name}: {system}, validation"):
        run.add_artifact(picture)


def grid_picture(records: Sequence[Record], metric: str, path: str | Path, title: str) -> Path | None:
    """Draw the points in per cent by two halves of the axes that vary; failed ones stay white, the best is framed.

    Returns:
        The file; None where there is but one point, or far too many.
    """
    if not 1 < len(records) <= MOST_CELLS:
        return None
    configs = [record.config for record in records]
    names = [one.name for one in fields(ProbeConfig)]
    varying = [name for name in names if len({getattr(config, name) for config in configs}) > 1]
    rows, columns = varying[: len(varying) // 2], varying[len(varying) // 2 :]
    places = [tuple(tuple(getattr(config, name) for name in half) for half in (rows, columns)) for config in configs]
    across = [list(dict.fromkeys(place[half] for place in places)) for half in (0, 1)]
    values = np.full((len(across[0]), len(across[1])), np.nan)
    for record, (row, column) in zip(records, places, strict=True):
        if record.value is not None:
            values[across[0].index(row), across[1].index(column)] = 100 * record.value
    best = places[min(range(len(records)), key=lambda number: records[number].rank)]
    width, height = max(7.0, 3.2 + 0.42 * len(across[1])), max(3.0, 2.2 + 0.42 * len(across[0]))
    path = Path(path)
    with reports.picture(path, width, height) as (axis,):
        image = axis.imshow(values, aspect="auto", cmap="viridis")
        axis.set_xticks(range(len(across[1])), [_cell(columns, cell) for cell in across[1]], rotation=90, fontsize=8)
        axis.set_yticks(range(len(across[0])), [_cell(rows, cell) for cell in across[0]], fontsize=8)
        frame = (across[1].index(best[1]), across[0].index(best[0]))
        axis.plot(*frame, marker="s", markersize=13, markerfacecolor="none", markeredgecolor="red", markeredgewidth=2)
        axis.grid(visible=False)
        axis.set_title(textwrap.fill(title, int(9 * width - 13)), fontsize=11)
        axis.figure.colorbar(image, ax=axis, label=f"{metric}, per cent")
    return path


def _cell(names: Sequence[str], values: Sequence[object]) -> str:
    words = {"None": "none", "True": "yes", "False": "no"}
    texts = [f"{value:g}" if isinstance(value, float) else words.get(str(value), str(value)) for value in values]
    return ", ".join(f"{SHORT.get(name, name)} {text}" for name, text in zip(names, texts, strict=True))


def write_points(trained: Sequence[Trained], run: RunHandle) -> Path:
    """Attach every point of every grid with its validation score: `probes.csv`."""
    path = run.directory / POINTS
    with path.open("w", newline="", encoding="utf-8") as handle:
        columns = ("task", "representation", "seed", "point", *(one.name for one in fields(ProbeConfig)))
        writer = RecordWriter(handle, [*columns, *RESULTS, "early", "chosen", "tied"])
        writer.writeheader()
        for task, label, seed, outcome in trained:
            chosen, tied = min(outcome.records, key=lambda record: record.rank), outcome.tied
            for record in outcome.records:
                row = {"task": task, "representation": label, "seed": seed, "point": record.number}
                row |= asdict(record.config) | {name: getattr(record, name) for name in RESULTS}
                writer.writerow(row | {"early": record.early, "chosen": record is chosen, "tied": record in tied})
    run.add_artifact(path)
    return path


def write_child_runs(trained: Sequence[Trained], metrics: Mapping[str, str], run: RunHandle) -> None:
    """Record every probe as a run of its own, to filter, sort and compare them in the run browser.

    They are one file in the run's folder and, where there is a database, runs there; without one, `sync` sends them
    later. A probe's point is `config.probe_point`, its validation score `result`, with a thin curve; the key of the
    sweep is `info.sweep_key`, its number in the database `info.sweep`.

    Args:
        trained: Every grid.
        metrics: The primary metric of every task.
        run: Of the sweep.
    """
    run.add_child_runs(_child_runs(trained, metrics, run.key), "light_runs.jsonl")


def _child_runs(trained: Sequence[Trained], metrics: Mapping[str, str], key: str) -> Iterator[ChildRun]:
    now = time.time()
    for number, (task, label, seed, outcome) in enumerate(trained):
        chosen = min(outcome.records, key=lambda record: record.rank)
        for record in outcome.records:
            about = {"task": task, "representation": label, "seed": seed}
            info = {
                "target": task,
                "sweep_key": key,
                "point": record.number,
                "chosen": record is chosen,
                "early": record.early,
            }
            info |= {"best_step": record.best_step, "stop_step": record.stop_step, "loss": record.loss}
            yield ChildRun(
                name=f"{number:04d}-{record.number:04d}",
                command="probe",
                config=about | {"probe_point": asdict(record.config)},
                result=record.value,
                time=now,
                info=info,
                metrics={f"valid/{metrics[task]}": record.curve} if record.curve else {},
                failure=record.failure,
                tags=(task, "probe"),
            )


def warn_of_failures(task: str, label: str, outcomes: Sequence[Outcome]) -> None:
    """Say how many probes of a row failed, and why the first did."""
    failed = [record for outcome in outcomes for record in outcome.failed]
    if failed:
        points = pluralize(sum(len(outcome.records) for outcome in outcomes), "probe")
        say(f"{task}, {label}: {len(failed)} of {points} failed (probes.csv), e.g. {failed[0].failure}")


def warn_of_ties(trained: Sequence[Trained]) -> None:
    """Say where validation alone did not decide."""
    tied = [one for one in trained if len(one.outcome.tied) > 1]
    if tied:
        task, label, _, outcome = tied[0]
        say(
            f"{pluralize(len(tied), 'choice was a tie', 'choices were ties')} of {len(trained)}, broken by validation "
            f"loss, then by place in the grid: in {task}, {label}, for instance, {len(outcome.tied)} probes share "
            f"{outcome.probe.value:.4f} (column tied of probes.csv)"
        )
