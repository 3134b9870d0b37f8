"""Pre-training: supervised learning on clips, the best checkpoint judged on whole test tracks."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

import lightning as L
import numpy as np

from datasets.csv_writing import TableWriter
from datasets.text import pluralize
from experiments import networks
from experiments.class_report import write_test_report
from experiments.distributed import layout
from experiments.errors import UserError
from experiments.learners.distillation import DistillationLearner
from experiments.learners.supervised import SupervisedLearner
from experiments.settings import PretrainSettings
from experiments.tasks.base import Task
from experiments.tracking.run import RunHandle
from experiments.tracks.data import (
    build_task,
    fit_labels,
    identify,
    open_source,
    read_corpus,
    say,
    spell,
)
from experiments.tracks.examples import examples, require_nonempty
from experiments.tracks.unmatched import match, report_unannotated
from experiments.training import distilling
from experiments.training.averaging import MovingAverage, SnapshotAverage, averaging
from experiments.training.checkpointing import BEST
from experiments.training.continuing import resume_from, same_data
from experiments.training.loading import Clips
from experiments.training.trainer import History, check_accelerator, checkpoint_folder, draw, make_trainer
from models.attention import prefer


def pretrain(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Train a network and judge its best checkpoint.

    Returns:
        `val/*` of the best epoch and, where there is a test split that can be scored, `test/*`.

    Raises:
        UserError: The training diverged; or the settings, tracks or weights do not fit.
    """
    L.seed_everything(run.seed, workers=True, verbose=False)
    processes = math.prod(layout(settings.trainer.devices, settings.trainer.num_nodes))
    checkpoint = resume_from(settings, run)
    before = run.known("data")
    learner, clips = prepare(settings, run)
    if checkpoint:
        same_data(before, run)
    if settings.trainer.compile:
        learner.net.compile_parts()
    curves, average = History(), averaging(settings.module)
    steps = clips.steps_per_epoch(settings.trainer, processes)
    trainer = make_trainer(settings.trainer, run, curves, steps, average)
    with prefer(settings.trainer.attention):
        trainer.fit(learner, clips, ckpt_path=checkpoint, weights_only=True)
    draw(trainer, curves, run)
    result = best_epoch(curves)
    if not result:
        raise UserError("val/loss was never finite: the training diverged; lower module.optimizer.lr")
    if len(clips.splits["test"]):
        best = checkpoint_folder(settings.trainer, run.directory) / f"{BEST}.ckpt"
        trainer.test(learner, clips, ckpt_path=best, verbose=False, weights_only=True)
        if learner.averaged:
            say("the test judges averaged weights: their loss in validation was the lowest")
        try:
            result.update(_report_test(learner, run, clips.splits["test"].ids, clips.splits["train"].targets))
        except UserError as error:  # too few test tracks to score anything: the training is none the worse for it
            say(f"no test scores: {error}")
    if run.is_global_zero:
        _what_next(settings, run)
    return result


def test(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Judge a trained network on the test split."""
    L.seed_everything(run.seed, workers=True, verbose=False)
    learner, clips = prepare(settings, run, trained=True)
    require_nonempty(clips.splits, "test")
    trainer = make_trainer(settings.trainer, run, History())
    trainer.test(learner, clips, verbose=False)
    return _report_test(learner, run, clips.splits["test"].ids)


def prepare(settings: PretrainSettings, run: RunHandle, trained: bool = False) -> tuple[SupervisedLearner, Clips]:
    """Build everything a trainer needs.

    Args:
        settings: Of the experiment.
        run: The run.
        trained: Take the network and its classes from `inference.checkpoint` or `model.pretrained`, unchanged.
    """
    datamodule = settings.datamodule
    check_accelerator(settings.trainer)
    logits = None if trained else distilling.open_logits(settings)
    networks.fetch_weights(settings, trained)
    source = open_source(datamodule)
    corpus, stored = match(
        read_corpus(datamodule, source), source.features.ids, source.base_dir, datamodule.max_unmatched, run
    )
    if trained:
        found, lessons = networks.load(settings, source.frontend), None
        corpus = fit_labels(datamodule, corpus, found.task())
    else:
        corpus, task = build_task(datamodule, corpus)
        lessons = distilling.lessons(settings, logits, task) if logits else None
        found = networks.initial(settings, source.frontend, task, lessons.second_head if lessons else None)
    task, frames = found.task(), found.n_frames
    report_unannotated(task, corpus, datamodule.max_unmatched, run)
    splits = examples(task, corpus, stored)
    if not trained:
        require_nonempty(splits, "train", "valid")
    made_of = (found.network, task, found.mean, found.std, settings.module, datamodule.masking, datamodule.roll)
    description, teacher = {**found.description, "run_fingerprint": run.fingerprint}, None
    if lessons:
        teacher, splits = distilling.teach(settings, lessons, splits, source, run)
        described = {**description, "teacher": lessons.description}
        learner = DistillationLearner(*made_of, described, lessons.task, settings.distillation)
    else:
        learner = SupervisedLearner(*made_of, description)
    weights = [parameter.numel() for parameter in found.network.parameters()]
    moving = sum(parameter.numel() for parameter in found.network.parameters() if parameter.requires_grad)
    if settings.module.freeze and not trained:
        kept = "" if settings.model.pretrained or settings.model.checkpoint else "; the frozen ones are random"
        say(f"module.freeze={settings.module.freeze}: {moving:,} of {sum(weights):,} parameters are trained{kept}")
    run.set_info(
        target=task.name,
        data={
            **identify(corpus, {split: examples.ids for split, examples in splits.items()}, task),
            "corpus": source.name,
            "parameters": sum(weights),
            "parameters_trained": moving,
        },
    )
    sizes = ", ".join(f"{len(examples)} {split}" for split, examples in splits.items())
    outputs = pluralize(len(task.classes), "value" if task.kind == "values" else "class")
    say(f"{source.name}: {sizes} tracks, {outputs}, clips of {frames} frames")
    return learner, Clips(datamodule, source.features, splits, frames, run.seed, teacher)


def best_epoch(curves: History, monitor: str | None = None) -> dict[str, float]:
    """What was logged at the step of the best checkpoint, of the trained network or of an average.

    Args:
        curves: Of the training.
        monitor: As in `make_trainer`.
    """
    kinds = [f"{monitor or 'val/loss'}{suffix}" for suffix in ("", SnapshotAverage.suffix, MovingAverage.suffix)]
    points = [point for kind in kinds for point in curves.series.get(kind, [])]
    sign = -1 if monitor else 1
    values = [(sign * value, step) for step, value in points if math.isfinite(value)]
    if not values:
        return {}
    _, best = min(values)
    then = {name: dict(series).get(best) for name, series in curves.series.items() if name.startswith("val/")}
    return {name: value for name, value in then.items() if value is not None}


def _report_test(
    learner: SupervisedLearner, run: RunHandle, ids: tuple[str, ...], train: np.ndarray | None = None
) -> dict[str, float]:
    scores = {f"test/{name}": value for name, value in learner.scores().items()}
    if run.is_global_zero:
        write_test_report(learner.task, learner.predictions, learner.references, run, train)
        write_predictions(learner.task, [ids[track] for track in learner.tracks], learner.predictions, run)
        say("  ".join(f"{name} {value:.4g}" for name, value in scores.items()))
    return scores


def write_predictions(task: Task, ids: Sequence[str], predictions: np.ndarray, run: RunHandle) -> None:
    """Keep the answers to the test tracks, `[tracks, n_outputs]`, as a table."""
    table = run.directory / "predictions_test.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = TableWriter(handle)
        writer.writerow(["track", *task.classes])
        writer.writerows([identity, *(f"{p:.5f}" for p in row)] for identity, row in zip(ids, predictions, strict=True))
    run.add_artifact(table)


def _what_next(settings: PretrainSettings, run: RunHandle) -> None:
    checkpoint = checkpoint_folder(settings.trainer, run.directory) / f"{BEST}.ckpt"
    what = shlex.quote(f"inference.checkpoint={checkpoint}")
    say(
        f"best checkpoint: {checkpoint}\n"
        f"next: python ex_pretrain.py extract_embeddings with {what}{spell(settings.datamodule)}"
    )
