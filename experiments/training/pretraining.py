"""Training of any network on windows of tracks; its best checkpoint is evaluated on whole test tracks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import lightning as L
import numpy as np

from datasets.csv_writing import write_table
from datasets.examples import Examples, require_nonempty
from experiments.class_report import per_class_table, write_test_report
from experiments.errors import UserError
from experiments.inference.selection import FILE as THRESHOLDS_FILE
from experiments.inference.selection import network_words, say_unfitted, selection_of, write_thresholds
from experiments.intervals import interval_per_class
from experiments.messages import say
from experiments.settings import PretrainSettings
from experiments.tasks.base import Task
from experiments.tasks.beats import BeatTracking
from experiments.tasks.tempo import TempoTask
from experiments.tracking import RunHandle
from experiments.tracks.data import spell
from experiments.training import beat_decoders, beat_report, contrastive
from experiments.training.continuing import begin
from experiments.training.fitting import fit
from experiments.training.learner import Learner
from experiments.training.preparing import prepare
from experiments.training.tag_scores import further_scores, macro_intervals, name_left_out, print_scores, score_line
from experiments.training.thresholds import thresholds_of
from experiments.training.trainer import History, best_checkpoint, make_trainer
from models.descriptions import DECODER
from models.kernels.subnormals import flushing
from models.selection import Selection

MOST_ROWS = 60  # of a table in a terminal
EMBEDDINGS = "outputs/embeddings/"  # where named configs of corpora put those, which an evaluation has none of


@flushing()
def pretrain(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Train a network and evaluate its best checkpoint.

    Returns:
        `val/*` of the best epoch and, where there is a test split that can be scored, `test/*`.

    Raises:
        UserError: The training diverged; or the settings, tracks or weights do not fit.
    """
    if settings.module.objective == "contrastive":
        return contrastive.pretrain(settings, run)
    (learner, loaders), checkpoint = begin(settings, run, lambda: prepare(settings, run))
    if settings.trainer.compile:
        learner.net.compile_parts()
    trainer, _, result = fit(learner, loaders, settings.trainer, settings.module, run, checkpoint)
    best = best_checkpoint(settings.trainer, run.directory)
    decoder = beat_decoders.choose(learner, loaders, trainer, settings.rhythm, best)
    learner.objective.task = beat_decoders.in_the_test(learner.objective.task, settings.rhythm, decoder)
    if len(loaders.splits["test"]):
        trainer.test(learner, loaders, ckpt_path=best, verbose=False, weights_only=True)
        if learner.averaged:
            say("the test is of averaged weights, which were best in validation")
        try:
            train = loaders.splits["train"]
            targets = train.targets if train.clip_level else None
            selection = selection_of(settings.inference, learner.objective.task, learner.thresholds)
            say_unfitted(settings.inference, learner.objective.task, learner.thresholds)
            result.update(report_test(settings, learner, run, loaders.splits["test"], selection, targets, decoder))
        except UserError as error:  # too few test tracks to score anything: the training is none the worse for it
            say(f"no test scores: {error}")
    if run.is_global_zero:
        what_next(settings, learner.objective.task, run)
    return result


@flushing()
def test(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Evaluate a trained network on the test split, with `inference.fit_thresholds` after fitting thresholds.

    Raises:
        UserError: There are no tracks to evaluate, or settings, tracks and weights do not fit.
    """
    inference, place = settings.inference, settings.inference.out_dir
    if place and not place.startswith(EMBEDDINGS):
        raise UserError(
            f"inference.out_dir={place}: an evaluation leaves its files with the run; leave it out, it is for "
            "robustness.perturbations"
        )
    L.seed_everything(run.seed, workers=True, verbose=False)
    learner, loaders = prepare(settings, run, trained=True)
    task = learner.objective.task
    if inference.fit_thresholds and task.kind != "tags":
        raise UserError(f"inference.fit_thresholds is for tags, and {task.name} has none: leave it out")
    require_nonempty(loaders.splits, *(["valid"] if inference.fit_thresholds else []), "test")
    trainer = make_trainer(settings.trainer, run, History())
    of_tempo, valid = isinstance(task, TempoTask), None
    if inference.fit_thresholds or (of_tempo and len(loaders.splits["valid"])):
        trainer.validate(learner, loaders, verbose=False)
        valid = learner.evaluation
    if inference.fit_thresholds:
        learner.thresholds = thresholds_of(task, learner.evaluation, "valid")
        if learner.thresholds is None:
            raise UserError("inference.fit_thresholds: the predictions of the validation split are not finite")
    selection = selection_of(inference, task, learner.thresholds, learner.hparams["weights"])
    trainer.test(learner, loaders, verbose=False)
    say_unfitted(inference, task, learner.thresholds, network_words(settings), spell(settings.datamodule))
    result = report_test(settings, learner, run, loaders.splits["test"], selection, table=True)
    if inference.fit_thresholds and run.is_global_zero:
        _keep_thresholds(settings, learner, run)
    if of_tempo and run.is_global_zero:
        from experiments.tempo.evaluation import beside_baselines

        result |= beside_baselines(learner.net.name, task, learner.evaluation, valid, loaders, run)
    return result


def _keep_thresholds(settings: PretrainSettings, learner: Learner, run: RunHandle) -> None:
    file, inference = run.directory / THRESHOLDS_FILE, settings.inference
    write_thresholds(
        file,
        learner.thresholds,
        {"weights": learner.hparams["weights"], "join": inference.join or learner.objective.task.usual_join},
    )
    run.add_artifact(file)
    words = shlex.join([*network_words(settings), f"inference.thresholds={file}", "inference.audio=AUDIO"])
    say(f"thresholds: {file}\nnext: python ex_transfer.py predict with {words}")


def report_test(
    settings: PretrainSettings,
    learner: Learner,
    run: RunHandle,
    tracks: Examples,
    selection: Selection | None,
    train: np.ndarray | None = None,
    decoder: str | None = None,
    table: bool = False,
) -> dict[str, float]:
    """Score the test tracks and leave files with the run; with `table`, print intervals and every tag."""
    task, evaluation, ids = learner.objective.task, learner.evaluation, tracks.ids
    if isinstance(task, BeatTracking):
        best = decoder or learner.hparams.get(DECODER)
        return beat_report.report(task, evaluation, ids, tracks.corpora, settings.rhythm, run, best)
    predictions, references = evaluation.predictions, evaluation.references
    scores, further = task.score(predictions, references), further_scores(task, evaluation, selection)
    if run.is_global_zero:
        ends = interval_per_class(task, predictions, references, seed=run.seed) if task.clip_level else {}
        write_test_report(task, predictions, references, run, train, ends=ends)
        write_predictions(task, [ids[track] for track in evaluation.tracks], predictions, run)
        name_left_out(task, references)
        line = score_line(scores, macro_intervals(task, evaluation, run.seed) if table else {})
        say(f"{line}  ({task.scored})" if task.scored else line)
        print_scores(further, selection)
        if table and ends and task.n_outputs <= MOST_ROWS:
            print(per_class_table(task, predictions, references, ends))
    return {f"test/{name}": value for name, value in {**scores, **further}.items()}


def write_predictions(task: Task, ids: Sequence[str], predictions: Sequence[np.ndarray], run: RunHandle) -> None:
    """Keep the predictions for the test tracks as a table: a row a track, or a row a frame where they change in time.

    Args:
        task: Its classes are the columns.
        ids: Of the tracks.
        predictions: Of every track, `[n_outputs]` or `[frames, n_outputs]`.
        run: Keeps the table.
    """
    table = run.directory / "predictions_test.csv"
    frame = [] if task.clip_level else ["frame"]
    rows = (
        [identity, *([number] if frame else []), *(f"{p:.5f}" for p in row)]
        for identity, prediction in zip(ids, predictions, strict=True)
        for number, row in enumerate(np.reshape(prediction, (-1, len(task.classes))))
    )
    write_table(table, ["track", *frame, *task.classes], rows)
    run.add_artifact(table)


def what_next(settings: PretrainSettings, task: Task, run: RunHandle) -> None:
    """Print commands for the trained network: its checkpoint says what it is, and where the tracks are is repeated."""
    checkpoint = best_checkpoint(settings.trainer, run.directory)
    words = shlex.join([f"inference.checkpoint={checkpoint}", *settings.model.words])
    say(f"best checkpoint: {checkpoint}")
    if task.kind in ("tags", "class", "events"):
        say(f"next: python ex_transfer.py predict with {words} inference.audio=song.mp3")
    if task.clip_level:
        say(f"next: python ex_pretrain.py extract_embeddings with {words}{spell(settings.datamodule, annotated=True)}")
