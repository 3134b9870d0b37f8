"""Pre-training: supervised learning on clips, the best checkpoint judged on whole test tracks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from experiments import networks, reports
from experiments.class_report import write_test_report
from experiments.data import Source, build_task, examples, match, need, open_source, read_corpus, say
from experiments.learners.supervised import SupervisedLearner
from experiments.loading import Clips
from experiments.settings import PretrainSettings
from experiments.tasks.base import Task
from experiments.tracking import history
from experiments.tracking.run import RunHandle
from experiments.training import BEST, CHECKPOINTS, LAST, History, checkpoint_folder, make_trainer
from models.fingerprint import fingerprint


def pretrain(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Train a network and judge its best checkpoint.

    Returns:
        `val/*` of the best epoch and, where there is a test split, `test/*`.
    """
    L.seed_everything(run.seed, workers=True, verbose=False)
    learner, clips, source = prepare(settings, run)
    curves = History()
    trainer = make_trainer(settings.trainer, run, curves, clips.steps_per_epoch)
    trainer.fit(learner, clips, ckpt_path=_resume_from(settings, run), weights_only=True)
    result = _best_epoch(curves)
    if run.is_global_zero and curves.series:
        run.add_artifact(reports.training_curves(curves.series, run.directory / "curves.png"))
    if len(clips.splits["test"]):
        best = checkpoint_folder(settings.trainer, run) / f"{BEST}.ckpt"
        trainer.test(learner, clips, ckpt_path=best, verbose=False, weights_only=True)
        result.update(_report_test(learner, run, clips.splits["test"].ids))
    if run.is_global_zero:
        _what_next(settings, run, source)
    return result


def test(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Judge a trained network on the test split."""
    L.seed_everything(run.seed, workers=True, verbose=False)
    learner, clips, _ = prepare(settings, run, trained=True)
    need(clips.splits, "test")
    trainer = make_trainer(settings.trainer, run, History())
    trainer.test(learner, clips, verbose=False)
    return _report_test(learner, run, clips.splits["test"].ids)


def prepare(
    settings: PretrainSettings, run: RunHandle, trained: bool = False
) -> tuple[SupervisedLearner, Clips, Source]:
    """Build everything a trainer needs.

    Args:
        settings: Of the experiment.
        run: The run.
        trained: Take the network and its classes from `inference.checkpoint` or `model.pretrained`, unchanged.
    """
    datamodule = settings.datamodule
    source = open_source(datamodule)
    corpus, stored = match(read_corpus(datamodule, source), source.features.ids, source.base_dir)
    if trained:
        found = networks.load(settings, source.frontend)
    else:
        classes = build_task(datamodule.task, corpus, datamodule.labels)
        found = networks.initial(settings, source.frontend, classes)
    task, frames = found.task(), found.n_frames
    splits = examples(task, corpus, stored)
    if not trained:
        need(splits, "train", "valid")
    learner = SupervisedLearner(
        found.network,
        task,
        found.mean,
        found.std,
        settings.module,
        datamodule.masking,
        datamodule.roll,
        found.description,
    )
    run.set_info(
        data={
            "corpus": source.name,
            "tracks": {split: len(examples) for split, examples in splits.items()},
            "classes": len(task.classes),
            "classes_fingerprint": fingerprint({"classes": task.classes}),
            "parameters": sum(parameter.numel() for parameter in found.network.parameters()),
        }
    )
    sizes = ", ".join(f"{len(examples)} {split}" for split, examples in splits.items())
    say(f"{source.name}: {sizes} tracks, {len(task.classes)} classes, clips of {frames} frames")
    return learner, Clips(datamodule, source.features, splits, frames, run.seed), source


def _resume_from(settings: PretrainSettings, run: RunHandle) -> Path | None:
    """The newest epoch of the newest unfinished run with these settings."""
    if not settings.resume:
        return None
    for folder in reversed(history.runs_with(run.directory.parent, run.fingerprint)):
        end = history.end_of(folder)
        if folder == run.directory or (end is not None and end["status"] == "COMPLETED"):
            continue
        checkpoint = Path(settings.trainer.checkpoint_dir or folder / CHECKPOINTS) / f"{LAST}.ckpt"
        if checkpoint.is_file():
            say(f"resuming the run {folder.name} from {checkpoint}")
            run.set_info(resumed_from=folder.name)
            return checkpoint
    say("resume=True: no unfinished run with these settings has completed an epoch; starting from the beginning")
    return None


def _best_epoch(curves: History) -> dict[str, float]:
    losses = [value for _, value in curves.series.get("val/loss", [])]
    if not losses:
        return {}
    best = int(np.argmin(losses))
    return {name: series[best][1] for name, series in curves.series.items() if name.startswith("val/")}


def _report_test(learner: SupervisedLearner, run: RunHandle, ids: tuple[str, ...]) -> dict[str, float]:
    scores = {f"test/{name}": value for name, value in learner.scores().items()}
    if run.is_global_zero:
        write_test_report(learner.task, learner.predictions, learner.references, run)
        _write_predictions(learner.task, [ids[track] for track in learner.tracks], learner.predictions, run)
        say("  ".join(f"{name} {value:.4g}" for name, value in scores.items()))
    return scores


def _write_predictions(task: Task, ids: list[str], predictions: np.ndarray, run: RunHandle) -> None:
    table = run.directory / "predictions_test.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["track", *task.classes])
        writer.writerows([identity, *(f"{p:.5f}" for p in row)] for identity, row in zip(ids, predictions, strict=True))
    run.add_artifact(table)


def _what_next(settings: PretrainSettings, run: RunHandle, source: Source) -> None:
    checkpoint = checkpoint_folder(settings.trainer, run) / f"{BEST}.ckpt"
    where: Any = "" if settings.datamodule.base_dir is None else f" datamodule.base_dir={source.base_dir}"
    say(
        f"best checkpoint: {checkpoint}\n"
        f"next: python ex_pretrain.py extract_embeddings with inference.checkpoint={checkpoint}{where}"
    )
