"""What a sweep shows and leaves in its run: the table, the points of the grids, pictures, chosen probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from datasets.csv_writing import RecordWriter
from experiments import reports
from experiments.class_report import write_test_report
from experiments.probes.records import write_answers, write_scores
from experiments.probes.scores import Judged, behind
from experiments.probes.sweeping import Outcome
from experiments.probes.tile_files import thinned
from experiments.tasks.base import Task
from experiments.tracking import RunHandle

MOST_POINTS = 1000  # of the curves of a run
MOST_BARS = 24
POINTS = "probes.csv"
COMPARISON = "comparison.csv"
TABLE = "comparison.txt"
FOUND = ("value", "loss", "best_step", "stop_step", "failure")


def format_table(rows: Sequence[Judged], best: Mapping[str, Judged]) -> str:
    """The rows as text: a block a task, a line a row, a column a metric in per cent, and how far it is behind."""
    lines = []
    for task in dict.fromkeys(row.score.task for row in rows):
        of_task = [row for row in rows if row.score.task == task]
        first = of_task[0]
        metrics, main = list(first.metrics), best[task]
        width = max(20, *(len(row.label) + 2 for row in of_task))
        lines += ["", f"{_tested(main)}; per cent ± half of the 95 % interval over {_over(main)}"]
        lines.append(" " * width + _cells([*metrics, f"behind {main.label}"]))
        for row in of_task:
            cells = [reports.with_interval(*found) for found in row.metrics.values()]
            if row is not main:
                gap = behind(main, row)
                chance = "" if gap.more_than_chance else "  may be chance"
                cells.append(f"{100 * gap.ahead:+z.1f} ({100 * gap.low:+z.1f} to {100 * gap.high:+z.1f}){chance}")
            lines.append(f"{row.label:<{width}}" + _cells(cells))
    return "\n".join(lines)


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"{cell:<18}" for cell in cells).rstrip()


def _tested(row: Judged) -> str:
    return f"{row.score.task}, {row.score.n} test {row.score.judged}"


def _over(row: Judged) -> str:
    seeds = len(row.score.seeds)
    return f"{row.score.judged} and {seeds} seeds" if seeds > 1 else row.score.judged


def write_points(trained: Sequence[tuple[str, str, int, Outcome]], run: RunHandle) -> Path:
    """Attach every point of every grid with its validation score: `probes.csv`.

    Args:
        trained: Task, label of the row, seed, outcome.
        run: Gets the file.
    """
    path = run.directory / POINTS
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = None
        for task, label, seed, outcome in trained:
            chosen, tied = min(outcome.records, key=lambda record: record.rank), outcome.tied
            for record in outcome.records:
                named = {"task": task, "representation": label, "seed": seed, "point": record.number}
                found = {name: getattr(record, name) for name in FOUND} | {
                    "chosen": record is chosen,
                    "tied": record in tied,
                }
                row = named | asdict(record.config) | found
                if writer is None:
                    writer = RecordWriter(handle, list(row))
                    writer.writeheader()
                writer.writerow(row)
    run.add_artifact(path)
    return path


def write_rows(rows: Sequence[Judged], best: Mapping[str, Judged], run: RunHandle) -> None:
    """Attach pictures of the rows of each task, and all metrics beside how far rows are behind the best embeddings.

    The table is kept twice: as a CSV file with the ends of the intervals, and as the text that is printed.
    """
    for task in dict.fromkeys(row.score.task for row in rows):
        _bars([row for row in rows if row.score.task == task][:MOST_BARS], best[task], run)
    path = run.directory / COMPARISON
    with path.open("w", newline="", encoding="utf-8") as handle:
        names = ("task", "representation", "metric", "value", "low", "high", "behind", "behind_low", "behind_high", "n")
        writer = RecordWriter(handle, names)
        writer.writeheader()
        for row in rows:
            main = best[row.score.task]
            gap = None if row is main else behind(main, row)
            for metric, (value, low, high) in row.metrics.items():
                line = {"task": row.score.task, "representation": row.label, "metric": metric, "n": row.score.n}
                line |= {"value": value, "low": low, "high": high}
                if gap is not None and metric == row.score.metric:
                    line |= {"behind": gap.ahead, "behind_low": gap.low, "behind_high": gap.high}
                writer.writerow(line)
    run.add_artifact(path)
    table = run.directory / TABLE
    table.write_text(format_table(rows, best).lstrip() + "\n", encoding="utf-8")
    run.add_artifact(table)


def keep_scores(rows: Sequence[Judged], run: RunHandle) -> None:
    """Attach the answers of all rows, and the scores: what the leaderboard reads."""
    for row in rows:
        run.add_artifact(write_answers(run.directory / row.score.predictions, row.ids, row.by_seed, row.references))
    write_scores([row.score for row in rows], run)


def _bars(rows: Sequence[Judged], main: Judged, run: RunHandle) -> None:
    metric, path = main.score.metric, run.directory / f"probes_{main.score.task}.png"
    bars = {row.label: row.metrics[metric] for row in rows}
    run.add_artifact(reports.comparison_bars(bars, metric, path, _tested(main), _over(main)))


def write_chosen(task: Task, row: Judged, outcome: Outcome, train: np.ndarray, tasks: int, run: RunHandle) -> None:
    """Attach the chosen probe of a task, its curve, its figures by class, and the picture of its grid.

    Args:
        task: It answers.
        row: Of the table.
        outcome: Of its grid.
        train: Stacked targets of the tracks it learned from.
        tasks: Of the run, which share the points of its curves.
        run: Gets the files.
    """
    from experiments.probes.grid_picture import grid_picture

    probe = outcome.probe
    for step, value in thinned(probe.curve, probe.best_step, MOST_POINTS // tasks):
        run.log_scalar(f"probe/{task.name}_{task.primary}", value, step)
    system = row.label + (f", seed {probe.seed}" if len(row.by_seed) > 1 else "")
    write_test_report(task, row.by_seed[0], row.references, run, train, f"_{task.name}", system)
    run.add_artifact(probe.save(run.directory / f"probe_{task.name}.safetensors"))
    picture = run.directory / f"grid_{task.name}.png"
    if grid_picture(outcome.records, task.primary, picture, f"{task.name}: {system}, validation"):
        run.add_artifact(picture)
