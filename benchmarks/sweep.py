"""The 216 probes of a task, trained together and one by one.

python -m benchmarks.sweep                     # both sizes, about ten minutes on two cores
python -m benchmarks.sweep gtzan --whole       # the whole sweep, not extrapolated; goes on where it was ended
python -m benchmarks.sweep gtzan --whole --grid quick    # what the coarser grid costs in score
python -m benchmarks.sweep gtzan --whole --early halving   # and what the end of points that fall behind costs
python -m benchmarks.sweep mtt --device cuda   # torch, numpy and rich are enough for the sweep itself

Vectors are drawn, with signal; sizes are those of MagnaTagATune (18,706/1,825/5,329 clips, 50 tags) and of GTZAN
without faults (443/197/290, 10 genres), 768 values each. One by one is `single_probe.fit` with scikit-learn's metric,
as the field does it, eight probes to their end, two of each form and batch size. Together is `batched.train_batch` in
one process a core: the time of a step of every form and batch size, and how many steps the probes of each learning rate
take, from some that are trained to their end. Times are wall time, so nothing else may run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe, roof
from benchmarks.single_probe import fit
from experiments.probes.fitted import train_batch
from experiments.probes.grids import grid
from experiments.probes.halving import Early
from experiments.probes.vectors import Split
from experiments.tasks import Genre, Tagging
from models.probes.batched import batches_of_probes
from models.probes.grids import ProbeConfig

VALUES = 768
SHORT, LONG = 40, 136  # steps: the difference of their times is free of the setting up
RATES = (1e-5, 1e-4, 1e-3)
FORMS = tuple((hidden, batch) for hidden in (None, 512) for batch in (64, 256))
ALONE = {None: ((False, 0.25, 0.0), (True, 0.75, 1e-3)), 512: ((True, 0.5, 1e-4), (False, 0.75, 0.0))}


def tagging(seed: int = 0) -> tuple[Any, dict[str, Split]]:
    """MagnaTagATune in size: tags from rare to common, each from some directions and much else."""
    rng, n_tags = np.random.default_rng(seed), 50
    directions = rng.normal(size=(VALUES, n_tags)) / np.sqrt(VALUES)
    shift = np.linspace(1.0, 3.0, n_tags)
    splits = {}
    for name, n in (("train", 18_706), ("valid", 1_825), ("test", 5_329)):
        x = rng.normal(size=(n, VALUES)).astype(np.float32)
        y = (x @ directions + rng.normal(size=(n, n_tags)) > 1.4 * shift).astype(np.float32)
        splits[name] = Split(x, y, [f"{name} {number}" for number in range(n)])
    return Tagging([f"tag {number}" for number in range(n_tags)]), splits


def genre(seed: int = 0) -> tuple[Any, dict[str, Split]]:
    """GTZAN in size: one class a track, about two thirds of which can be recognised."""
    rng, n_classes = np.random.default_rng(seed), 10
    centres = rng.normal(size=(n_classes, VALUES)) * 0.11
    splits = {}
    for name, n in (("train", 443), ("valid", 197), ("test", 290)):
        y = rng.integers(0, n_classes, n)
        x = (rng.normal(size=(n, VALUES)) + centres[y]).astype(np.float32)
        splits[name] = Split(x, y, [f"{name} {number}" for number in range(n)])
    return Genre([f"genre {number}" for number in range(n_classes)]), splits


PROBLEMS = {"mtt": tagging, "gtzan": genre}


class ByScikitLearn:
    """A task whose score is scikit-learn's, as a loop in Python takes it."""

    def __init__(self, task: Any):
        self.task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def primary_score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """Macro ROC-AUC or accuracy."""
        from sklearn.metrics import accuracy_score, roc_auc_score

        if self.task.name == "genre":
            return float(accuracy_score(references, predictions.argmax(1)))
        return float(roc_auc_score(references, predictions, average="macro"))


def gigaflops(config: ProbeConfig, n_out: int, n_train: int, n_valid: int) -> float:
    """Of a step of training and an eighth of an evaluation: products alone, a multiply-add as two."""
    hidden, batch = config.hidden, min(config.batch_size, n_train)
    forward = VALUES * n_out if hidden is None else VALUES * hidden + hidden * n_out
    step = 4 * batch * forward + (0 if hidden is None else 2 * batch * hidden * n_out)
    return (step + 2 * n_valid * forward / config.evaluate_every) / 1e9


_HELD: dict[str, Any] = {}  # of a worker: the problem that it works on


def hold(name: str, threads: int) -> None:
    """Make the problem once a worker."""
    torch.set_num_threads(threads)
    _HELD["task"], _HELD["splits"] = PROBLEMS[name]()


def trained(configs: Sequence[tuple[int, ProbeConfig]], device: str) -> list[tuple[int, float, int]]:
    """Train a batch of probes in a worker: number, validation score and stop step of its probes."""
    splits = _HELD["splits"]
    results = train_batch(_HELD["task"], splits["train"], splits["valid"], dict(configs), 0, device)
    return [(number, one.value, one.stop_step) for number, one in results.items() if not one.failure]


@dataclass
class SweepContest:
    """One size: its problem and the workers that train together."""

    name: str
    device: str
    cores: int
    folder: Path

    def __post_init__(self) -> None:
        hold(self.name, self.cores)
        self.task, self.splits = _HELD["task"], _HELD["splits"]
        jobs = self.cores if self.device == "cpu" else 1
        self.pool = None
        if jobs > 1:
            self.pool = ProcessPoolExecutor(jobs, get_context("spawn"), hold, (self.name, 1))
        self.jobs = jobs

    def together(self, work: Sequence[Sequence[tuple[int, ProbeConfig]]]) -> tuple[float, list[tuple[int, float, int]]]:
        """Train batches of probes side by side; wall time and what became of their probes."""
        if self.pool is None:
            torch.set_num_threads(1 if self.device == "cpu" else self.cores)
        began = time.perf_counter()
        if self.pool is None:
            parts = [trained(batch, self.device) for batch in work]
        else:
            parts = list(self.pool.map(trained, work, [self.device] * len(work)))
        return time.perf_counter() - began, [one for part in parts for one in part]

    def batches(self, configs: Sequence[ProbeConfig]) -> list[list[tuple[int, ProbeConfig]]]:
        """The batches of some points."""
        found = batches_of_probes(configs, VALUES, self.task.n_outputs, self.device)
        return [[(number, configs[number]) for number in batch] for batch in found]

    def step(self, form: tuple[int | None, int]) -> float:
        """Seconds of wall time of a step of one probe of a form, evaluation included, all workers busy."""
        points = [one for one in grid("full") if (one.hidden, one.batch_size) == form]
        work = self.batches(points)
        work = (work * self.jobs)[: max(self.jobs, len(work) // self.jobs * self.jobs)][: 2 * self.jobs]
        probes = sum(len(batch) for batch in work)

        def lasting(steps: int) -> float:
            limited = [[(number, replace(point, max_steps=steps)) for number, point in batch] for batch in work]
            return self.together(limited)[0]

        lasting(8)
        return statistics.median((lasting(LONG) - lasting(SHORT)) for _ in range(3)) / (LONG - SHORT) / probes

    def alone(self, form: tuple[int | None, int]) -> tuple[float, int]:
        """Seconds of a step of the sequential loop, from two probes trained to their end, and how many steps."""
        torch.set_num_threads(self.cores)
        seconds = steps = 0
        first = ProbeConfig(True, *form, max_steps=8)
        fit(ByScikitLearn(self.task), self.splits["train"], self.splits["valid"], first, 0, self.device)
        for standardise, dropout, l2 in ALONE[form[0]]:
            point = ProbeConfig(standardise, *form, 1e-3, dropout, l2)
            began = time.perf_counter()
            probe = fit(ByScikitLearn(self.task), self.splits["train"], self.splits["valid"], point, 0, self.device)
            seconds, steps = seconds + time.perf_counter() - began, steps + probe.stop_step
        return seconds / steps, steps

    def lengths(self) -> dict[tuple[tuple[int | None, int], float], float]:
        """Stop step by form and learning rate, of probes at the middle of the other axes; kept, and not found twice."""
        from experiments.probes.sweep import Workers, sweep
        from experiments.probes.sweep_files import Problem

        points = grid("full", {"standardise": [True], "dropout": [0.5], "l2": [1e-4]})
        problem = Problem(self.task, self.splits["train"], self.splits["valid"], points, 0)
        (outcome,) = sweep([problem], self.folder, Workers(self.jobs, device=self.device))
        found = [(record.config, record.stop_step) for record in outcome.records]
        return {((point.hidden, point.batch_size), point.learning_rate): stop for point, stop in found}

    def sampled(self, console: Console) -> None:
        """Measure, extrapolate, print."""
        torch.set_num_threads(self.cores)
        best = roof(device=self.device)
        rate = best.rate
        sizes = [len(self.splits[name].ids) for name in ("train", "valid")]
        console.print(f"{self.name}, {self.cores} threads, {best}")
        lengths = self.lengths()
        table = Table(title=f"{self.name}: a step of one probe with its share of evaluations", title_justify="left")
        for column in ("", "one by one, ms", "together, ms", "times faster", "GFLOP/s", "of the roof"):
            table.add_column(column, justify="left" if not column else "right")
        whole: dict[str, dict[int | None, float]] = {"alone": {}, "together": {}}
        by_rate = dict.fromkeys(RATES, 0.0)
        work = 0.0
        for form in FORMS:
            (alone, _), together = self.alone(form), self.step(form)
            flops = gigaflops(ProbeConfig(True, *form), self.task.n_outputs, *sizes)
            steps = sum(18 * lengths[form, one] for one in RATES)
            for name, seconds in (("alone", alone), ("together", together)):
                whole[name][form[0]] = whole[name].get(form[0], 0.0) + seconds * steps
            for one in RATES:
                by_rate[one] += 18 * lengths[form, one] * together
            work += flops * steps
            cells = [f"{1000 * alone:.2f}", f"{1000 * together:.3f}", f"{alone / together:.1f}"]
            cells += [f"{flops / together:.0f}", f"{flops * 1e9 / together / rate:.0%}"]
            table.add_row(f"{'linear' if form[0] is None else 'hidden'}, batch {form[1]}", *cells)
        console.print(table)
        total = sum(whole["together"].values())
        for label, those in (("linear", (None,)), ("hidden layer", (512,)), ("all 216", (None, 512))):
            one, other = (sum(whole[name][form] for form in those) for name in ("alone", "together"))
            console.print(
                f"{label}: {one / 60:.0f} min one by one, {other / 60:.1f} min together: {one / other:.1f} times"
            )
        console.print(f"all 216 together: {work / total:.0f} GFLOP/s, {work * 1e9 / total / rate:.0%} of the roof")
        shares = ", ".join(f"{one:g}: {seconds / total:.0%}" for one, seconds in by_rate.items())
        stops = "; ".join(f"{one:g}: {statistics.mean(lengths[form, one] for form in FORMS):,.0f}" for one in RATES)
        console.print(f"time by learning rate {shares}; mean stop step {stops}")

    def whole(self, console: Console, grid_name: str, max_steps: int | None, early: Early | None) -> None:
        """The whole sweep, with its test score; what was finished before is not timed again, and said."""
        from experiments.probes.sweep import Workers, sweep
        from experiments.probes.sweep_files import Problem

        points = grid(grid_name, max_steps=max_steps)
        problem = Problem(self.task, self.splits["train"], self.splits["valid"], points, 0)
        began = time.perf_counter()
        (outcome,) = sweep([problem], self.folder, Workers(self.jobs, device=self.device), early=early)
        wall = time.perf_counter() - began
        score = self.task.score(outcome.probe.predict(self.splits["test"]), self.splits["test"].y)[self.task.primary]
        again = f", {outcome.reused} of them before" if outcome.reused else ""
        again += f", {len(outcome.stopped)} ended early" if early else ""
        console.print(f"{self.name}, grid {grid_name}, {len(points)} probes: {wall / 60:.1f} min{again}")
        console.print(f"  valid {outcome.probe.value:.4f}, test {score:.4f}: {outcome.probe.config.describe()}")
        for rate in dict.fromkeys(point.learning_rate for point in points):
            own = [record for record in outcome.records if record.config.learning_rate == rate and record.value]
            own = [record for record in own if not record.early]
            steps = [record.stop_step for record in own]
            best = max(own, key=lambda record: record.value)
            stops = f"stop step {statistics.mean(steps):,.0f} (largest {max(steps):,})"
            console.print(f"  lr {rate:g}: {stops}, best {best.value:.4f}")


def main() -> None:
    """Run what is asked for and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=list(PROBLEMS), help="mtt, gtzan (default: both)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="processes, and threads one by one")
    parser.add_argument("--whole", action="store_true", help="train the whole grid, in --folder")
    parser.add_argument("--grid", default="full", help="of --whole (default: full)")
    parser.add_argument("--max-steps", type=int, help="of --whole")
    parser.add_argument("--early", choices=get_args(Early), help="of --whole, as probe.early")
    parser.add_argument("--folder", type=Path, default=Path("outputs/sweeps"))
    options = parser.parse_args()
    console = Console(width=120)
    console.print(describe())
    for name in options.problems:
        contest = SweepContest(name, options.device, options.cores, options.folder)
        if options.whole:
            contest.whole(console, options.grid, options.max_steps, options.early)
        else:
            contest.sampled(console)
        if contest.pool is not None:
            contest.pool.shutdown()


if __name__ == "__main__":
    main()
