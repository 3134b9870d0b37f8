"""Transfer learning: MAEST's probe on stored embeddings, the best one evaluated on the test split and kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch import nn

from datasets.text import pluralize
from experiments import reports
from experiments.class_report import write_test_report
from experiments.errors import UserError
from experiments.intervals import interval
from experiments.messages import say
from experiments.networks.devices import check_accelerator
from experiments.objectives import Supervised
from experiments.probes.fitted import FittedProbe
from experiments.probes.grids import ProbeConfig
from experiments.probes.prediction import command
from experiments.probes.records import Score, predictions_name, save_predictions, write_scores
from experiments.probes.representations import Representation
from experiments.probes.splits import warn_of_other_audio
from experiments.probes.validation import check_scorable, song_targets
from experiments.probes.vectors import Split
from experiments.tasks import Task
from experiments.tracking import RunHandle
from experiments.tracks.data import build_task, identify, open_source, read_corpus
from experiments.tracks.examples import Examples, check_no_group_leakage, examples, require_nonempty
from experiments.tracks.unmatched import match, report_unannotated
from experiments.training.averaging import averaging, take_out
from experiments.training.checkpointing import BEST, AtomicCheckpoints
from experiments.training.continuing import resume_from, same_data
from experiments.training.fitting import fit
from experiments.training.learner import Learner
from experiments.training.monitoring import LOSS, monitored
from experiments.training.optimizers import freeze
from experiments.training.phases import phases
from experiments.training.pretraining import write_predictions
from experiments.training.recipes import vector_augmentations as augmentations
from experiments.training.trainer import History, checkpoint_folder
from experiments.transfer.data import NamedSplit, StoredVectors, stored
from experiments.transfer.settings import TransferSettings
from models.mlp import MLP


def transfer(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Train the probe, evaluate its best checkpoint on the test split, and keep it as a file for `predict`.

    Returns:
        `val/*` of the best epoch and, where there is a test split that can be scored, `test/*`.

    Raises:
        UserError: The training diverged; or the settings, tracks or vectors do not fit.
    """
    L.seed_everything(run.seed, workers=True, verbose=False)
    check_accelerator(settings.trainer)
    checkpoint = resume_from(settings, run)
    before = run.known("data")
    learner, data, about = prepare(settings, run)
    if checkpoint:
        same_data(before, run)
    trainer, curves, result = fit(learner, data, settings.trainer, settings.module, run, checkpoint)
    best = checkpoint_folder(settings.trainer, run.directory) / f"{BEST}.ckpt"
    taken = take_best(learner, best)
    if run.is_global_zero:
        probe = fitted(learner, settings, about, curves, taken, run)
        kept = _keep(probe, settings, run)
    valid = None if learner.monitor == LOSS else result[learner.monitor]
    if "test" in data.splits:
        trainer.test(learner, data, ckpt_path=best, verbose=False, weights_only=True)
        try:
            result.update(_report_test(learner, data.splits, settings, about, valid, run))
        except UserError as error:  # too few test tracks to score anything: the training is none the worse for it
            say(f"no test scores: {error}")
    if run.is_global_zero:
        applied = command("ex_transfer.py", probe.features, kept)
        say(f"the probe: {kept}" + (f"\nnext: {applied}" if applied else ""))
    return result


@dataclass(frozen=True)
class About:
    """What a training is about: the vectors, and the tracks as `identify` has them."""

    seen: Representation
    data: Mapping[str, Any]


def prepare(settings: TransferSettings, run: RunHandle) -> tuple[Learner, StoredVectors, About]:
    """Build everything a trainer needs."""
    seen = stored(settings.embeddings)
    (store,) = seen.stores
    source = open_source(settings.datamodule)
    warn_of_other_audio([seen], source)
    corpus, paired = match(
        read_corpus(settings.datamodule, source), store.ids, store.path, settings.datamodule.max_unmatched, run
    )
    corpus, task = build_task(settings.datamodule, corpus)
    report_unannotated(task, corpus, settings.datamodule.max_unmatched, run)
    encoded = examples(task, corpus, paired)
    require_nonempty(encoded, "train", "valid")
    check_no_group_leakage(encoded, corpus)
    songs = {track.id: str(track.annotations.get("group", track.id)) for track in corpus}
    splits = {name: _named_split(task, one, seen, songs) for name, one in encoded.items() if len(one)}
    if settings.probe.monitor == "metric":
        _can_be_scored(task, splits["valid"])
    network = MLP(splits["train"].split.x.shape[1], task.n_outputs, settings.probe.hidden, settings.probe.dropout)
    freeze(network, settings.module.freeze)
    description = {
        "network": network.hyperparameters,
        **task.metadata,
        "features": seen.origin,
        "run_fingerprint": run.fingerprint,
    }
    optimizer = settings.module.optimizer.over(settings.trainer.max_epochs)
    freeze(network, settings.module.freeze)
    module = settings.module.model_copy(update={"optimizer": optimizer})
    usual = f"val/{task.primary}" if settings.probe.monitor == "metric" else LOSS
    monitor = monitored(settings.trainer.monitor) if settings.trainer.monitor else usual
    learner = Learner(
        network, nn.Identity(), Supervised(task), description, phases(module), augmentations(module), monitor
    )
    data = identify(corpus, {name: one.ids for name, one in encoded.items()}, task)
    parameters = sum(weight.numel() for weight in network.parameters())
    run.set_info(
        target=task.name,
        data={**data, "parameters": parameters},
        store=str(store.path),
        reduction=seen.reduction.name,
    )
    sizes = ", ".join(f"{len(one)} {name}" for name, one in encoded.items())
    say(
        f"{source.name}: {sizes} tracks, {task.name}, {pluralize(task.n_outputs, 'output')}; {store.path}, "
        f"{seen.reduction.name}"
    )
    return learner, StoredVectors(settings.datamodule, splits, run.seed), About(seen, data)


def _can_be_scored(task: Task, valid: NamedSplit) -> None:
    """Refuse a validation split that no checkpoint can be chosen by.

    Raises:
        UserError: It has too few items, or too few classes.
    """
    try:
        check_scorable(task, valid.split)
    except UserError as error:
        raise UserError(f"{error}; or choose the best by its loss: probe.monitor=loss") from None


def _named_split(task: Task, encoded: Examples, seen: Representation, songs: Mapping[str, str]) -> NamedSplit:
    names = [songs[identity] for identity in encoded.ids]
    song_targets(task, encoded.targets, names)
    order = tuple(dict.fromkeys(names))
    numbers = {name: number for number, name in enumerate(order)}
    split = Split(seen.vectors(encoded.stored), encoded.targets, list(encoded.ids), features=seen.origin)
    return NamedSplit(split, order, np.array([numbers[name] for name in names]))


def take_best(learner: Learner, checkpoint: Path) -> tuple[int, bool]:
    """Give a learner the weights of a checkpoint; returns its step, and whether they are averaged."""
    loaded = AtomicCheckpoints().load_checkpoint(checkpoint)
    averaged = take_out(loaded, instead=True)
    learner.load_state_dict(loaded["state_dict"])
    return int(loaded["global_step"]), averaged


def fitted(
    learner: Learner,
    settings: TransferSettings,
    about: About,
    curves: History,
    taken: tuple[int, bool],
    run: RunHandle,
) -> FittedProbe:
    """The trained network as a probe, which knows what its vectors were made by.

    Args:
        learner: With the weights that count.
        settings: What it was trained with.
        about: Of `prepare`.
        curves: Of its training.
        taken: Of `take_best`.
        run: Its seed.
    """
    best, averaged = taken
    state = {name: value.detach().float().cpu().numpy() for name, value in learner.net.state_dict().items()}
    weights = {f"{to}.{part}": state[f"net.{of}.{part}"] for to, of in ((0, 0), (1, 3)) for part in ("weight", "bias")}
    optimizer, width = learner.phases[-1].optimizer, weights["0.weight"].shape[1]
    config = ProbeConfig(
        standardise=False,
        hidden=settings.probe.hidden,
        batch_size=settings.datamodule.batch_size_train,
        learning_rate=optimizer.lr,
        dropout=settings.probe.dropout,
        max_steps=learner.trainer.global_step,
    )
    recipe = {"optimizer": optimizer.model_dump(), "epochs": settings.trainer.max_epochs, "input_dropout": 0.0}
    suffix = averaging(settings.module).suffix if averaged else ""
    curve = curves.series.get(f"val/{learner.objective.task.primary}{suffix}", [])
    return FittedProbe(
        task=learner.objective.task,
        config=config,
        seed=run.seed,
        weights=weights,
        mean=np.zeros(width),
        scale=np.ones(width),
        features=about.seen.origin,
        value=dict(curve).get(best, math.nan),
        loss=dict(curves.series.get(f"val/loss{suffix}", [])).get(best, math.nan),
        best_step=best,
        stop_step=learner.trainer.global_step,
        curve=tuple(curve),
        recipe=recipe,
    )


def _keep(probe: FittedProbe, settings: TransferSettings, run: RunHandle) -> Path:
    """Leave the probe with the run, and where the settings want it, which is returned."""
    file = probe.save(run.directory / f"probe_{probe.task.name}.safetensors")
    run.add_artifact(file)
    if settings.probe.file:
        wanted = Path(settings.probe.file).expanduser()
        wanted.parent.mkdir(parents=True, exist_ok=True)
        file = probe.save(wanted)
    return file


def _report_test(
    learner: Learner,
    splits: Mapping[str, NamedSplit],
    settings: TransferSettings,
    about: About,
    valid: float | None,
    run: RunHandle,
) -> dict[str, float]:
    task, evaluation, test = learner.objective.task, learner.evaluation, splits["test"]
    scores = task.score(evaluation.predictions, evaluation.references)
    result = {f"test/{name}": value for name, value in scores.items()}
    if not run.is_global_zero:
        return result
    predictions, references = evaluation.predictions, evaluation.references
    names = [test.names[number] for number in evaluation.tracks]
    block = f", block {about.seen.block}" if about.seen.block != "" else ""
    system = about.seen.encoder + block
    write_test_report(task, predictions, references, run, splits["train"].split.y, system=system)
    write_predictions(task, names, predictions, run)
    ends = interval(task, predictions, references, seed=run.seed)
    row = replace(_row(task, scores, ends[task.primary], settings, about, len(names) < len(test)), valid=valid)
    run.add_artifact(save_predictions(run.directory / row.predictions, names, predictions[None], references))
    write_scores([row], run)
    for metric, (low, high) in ends.items():
        result |= {f"test/{metric}_low": low, f"test/{metric}_high": high}
        score = reports.with_interval(scores[metric], low, high)
        say(f"test {metric} {score} per cent, ± half of the 95 % interval over {len(names)} {row.unit}")
    return result


def _row(
    task: Task,
    scores: Mapping[str, float],
    ends: tuple[float, float],
    settings: TransferSettings,
    about: About,
    of_songs: bool,
) -> Score:
    """The score as reports read it."""
    seen, data = about.seen, about.data
    return Score(
        task=task.name,
        corpus=data["corpus"],
        encoder=seen.encoder,
        kind="probe",
        metric=task.primary,
        score=scores[task.primary],
        low=ends[0],
        high=ends[1],
        seeds=[scores[task.primary]],
        n=int(scores["n_items"]),
        split=data["split_fingerprint"],
        classes=data["classes_fingerprint"],
        network=seen.network,
        block=seen.block,
        tokens=seen.tokens,
        pooling=seen.pooling,
        aggregation="mean of patches" + ("; song: mean" if of_songs else ""),
        config={"hidden": settings.probe.hidden, "dropout": settings.probe.dropout},
        predictions=predictions_name(task.name, seen.encoder, seen.block, seen.tokens),
        metrics=dict(scores),
    )
