"""Transfer learning: MAEST's probe on stored embeddings, the best one judged on the test split and kept as a file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from datasets.store import Store
from experiments import reports
from experiments.averaging import averaging, take_out
from experiments.checkpointing import BEST, AtomicCheckpoints
from experiments.class_report import write_test_report
from experiments.continuing import resume_from
from experiments.data import Source, build_task, identify, open_source, read_corpus, say
from experiments.distributed import layout
from experiments.errors import UserError
from experiments.examples import Examples, examples, need
from experiments.extraction import made_of_other
from experiments.intervals import interval
from experiments.judging import song_targets
from experiments.learners.vectors import VectorLearner
from experiments.left_out import match, tell_unannotated
from experiments.pretraining import best_epoch, write_predictions
from experiments.probes import FittedProbe, ProbeConfig
from experiments.sweep_records import Score, answers_name, write_answers, write_scores
from experiments.tasks.base import Task
from experiments.tracking.run import RunHandle
from experiments.training import History, check_accelerator, checkpoint_folder, make_trainer
from experiments.transfer_data import Judged, StoredVectors, open_store, reduction_of
from experiments.transfer_settings import TransferSettings
from experiments.vectors import CHOICES, Reduction, Split, gather, token_reduction
from models.mlp import MLP


def transfer(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Train the probe, judge its best checkpoint on the test split, and keep it as a file for `predict`.

    Returns:
        `val/*` of the best epoch and, where there is a test split that can be scored, `test/*`.

    Raises:
        UserError: The training diverged; or the settings, tracks or vectors do not fit.
    """
    L.seed_everything(run.seed, workers=True, verbose=False)
    check_accelerator(settings.trainer)
    processes = math.prod(layout(settings.trainer.devices, settings.trainer.num_nodes))
    checkpoint = resume_from(settings, run)
    learner, data, about = prepare(settings, run)
    monitor = f"val/{learner.task.primary}" if settings.probe.monitor == "metric" else None
    curves, steps = History(), data.steps_per_epoch(settings.trainer, processes)
    trainer = make_trainer(settings.trainer, run, curves, steps, averaging(settings.module), monitor)
    trainer.fit(learner, data, ckpt_path=checkpoint, weights_only=True)
    if run.is_global_zero and curves.series:
        run.add_artifact(reports.training_curves(curves.series, run.directory / "curves.png"))
    result = best_epoch(curves, monitor)
    if not result:
        raise UserError(f"{monitor or 'val/loss'} was never finite: lower module.optimizer.lr")
    best = checkpoint_folder(settings.trainer, run.directory) / f"{BEST}.ckpt"
    taken = take_best(learner, best)
    if run.is_global_zero:
        _keep(fitted(learner, settings, about, curves, taken, run), settings, run)
    if "test" in data.splits:
        trainer.test(learner, data, ckpt_path=best, verbose=False, weights_only=True)
        try:
            result.update(_report_test(learner, data.splits["test"], settings, about, run))
        except UserError as error:  # too few test tracks to score anything: the training is none the worse for it
            say(f"no test scores: {error}")
    return result


def prepare(settings: TransferSettings, run: RunHandle) -> tuple[VectorLearner, StoredVectors, dict[str, Any]]:
    """Build everything a trainer needs; and what the vectors are: `features`, `data` (of `identify`), `encoder`."""
    store = open_store(settings.embeddings)
    reduction = reduction_of(settings.embeddings, store)
    source = open_source(settings.datamodule)
    _warn_of_other_audio(store, source)
    corpus, stored = match(read_corpus(settings.datamodule, source), store.ids, store.path, settings.datamodule, run)
    corpus, task = build_task(settings.datamodule, corpus)
    tell_unannotated(task, corpus, settings.datamodule, run)
    found = examples(task, corpus, stored)
    need(found, "train", "valid")
    features = {
        "kind": store.header.kind,
        "fingerprint": store.header.fingerprint,
        "reduction": reduction.name,
        "producer": dict(store.header.producer or {}),
    }
    songs = {track.id: str(track.annotations.get("group", track.id)) for track in corpus}
    splits = {name: _judged(task, one, store, reduction, features, songs) for name, one in found.items() if len(one)}
    if settings.probe.monitor == "metric":
        _can_be_scored(task, splits["valid"])
    optimizer = settings.module.optimizer.over(settings.trainer.max_epochs)
    module = settings.module.model_copy(update={"optimizer": optimizer})
    network = MLP(splits["train"].split.x.shape[1], task.n_outputs, settings.probe.hidden, settings.probe.dropout)
    description = {
        "network": network.hyperparameters,
        "task": task.name,
        "labels": list(task.classes),
        "features": features,
        "run_fingerprint": run.fingerprint,
    }
    learner = VectorLearner(network, task, module, description)
    data = identify(corpus, {name: one.ids for name, one in found.items()}, task)
    parameters = sum(weight.numel() for weight in network.parameters())
    run.set_info(
        data={**data, "corpus": source.name, "parameters": parameters}, store=str(store.path), reduction=reduction.name
    )
    sizes = ", ".join(f"{len(one)} {name}" for name, one in found.items())
    say(f"{source.name}: {sizes} tracks, {task.name}, {task.n_outputs} outputs; {store.path}, {reduction.name}")
    about = {"features": features, "data": data, "encoder": f"{_name_of(store.path)} (transfer)"}
    return learner, StoredVectors(settings.datamodule, splits, run.seed), about


def _name_of(store: Path) -> str:
    return store.absolute().parent.name if store.name.startswith("block_") else store.absolute().name


def _can_be_scored(task: Task, valid: Judged) -> None:
    """Refuse a validation split that no checkpoint can be chosen by.

    Raises:
        UserError: It has too few items, or too few kinds of answers.
    """
    try:
        task.primary_score(task.decode(np.zeros((len(valid), task.n_outputs), np.float32)), valid.split.y)
    except UserError as error:
        raise UserError(f"validation split: {error}; or choose the best by its loss: probe.monitor=loss") from None


def _judged(
    task: Task,
    found: Examples,
    store: Store,
    reduction: Reduction,
    features: Mapping[str, Any],
    songs: Mapping[str, str],
) -> Judged:
    x, _, _ = gather(store, found.stored, reduction)
    names = [songs[identity] for identity in found.ids]
    song_targets(task, found.targets, names)
    order = tuple(dict.fromkeys(names))
    numbers = {name: number for number, name in enumerate(order)}
    split = Split(x, found.targets, list(found.ids), features=features)
    return Judged(split, order, np.array([numbers[name] for name in names]))


def _warn_of_other_audio(store: Store, source: Source) -> None:
    other = made_of_other(store, source.features, source.features.ids)
    if other:
        say(
            f"{store.path}: {len(other)} tracks were not made from the audio of that name in "
            f"{source.base_dir}, {other[0]} for instance; is datamodule.base_dir right?"
        )


def take_best(learner: VectorLearner, checkpoint: Path) -> tuple[int, bool]:
    """Give a learner the weights of a checkpoint; returns its step, and whether they are averaged."""
    loaded = AtomicCheckpoints().load_checkpoint(checkpoint)
    averaged = take_out(loaded, instead=True)
    learner.load_state_dict(loaded["state_dict"])
    return int(loaded["global_step"]), averaged


def fitted(
    learner: VectorLearner,
    settings: TransferSettings,
    about: Mapping[str, Any],
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
    optimizer, width = learner.settings.optimizer, weights["0.weight"].shape[1]
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
    curve = curves.series.get(f"val/{learner.task.primary}{suffix}", [])
    return FittedProbe(
        task=learner.task,
        config=config,
        seed=run.seed,
        weights=weights,
        mean=np.zeros(width),
        scale=np.ones(width),
        features=about["features"],
        value=dict(curve).get(best, math.nan),
        loss=dict(curves.series.get(f"val/loss{suffix}", [])).get(best, math.nan),
        best_step=best,
        stop_step=learner.trainer.global_step,
        curve=tuple(curve),
        recipe=recipe,
    )


def _keep(probe: FittedProbe, settings: TransferSettings, run: RunHandle) -> None:
    """Leave the probe with the run, and where the settings want it."""
    file = probe.save(run.directory / f"probe_{probe.task.name}.safetensors")
    run.add_artifact(file)
    if settings.probe.file:
        wanted = Path(settings.probe.file).expanduser()
        wanted.parent.mkdir(parents=True, exist_ok=True)
        file = probe.save(wanted)
    what = shlex.quote(f"probe.file={file}")
    say(f"the probe: {file}\nnext: python ex_transfer.py predict with {what} inference.audio=AUDIO")


def _report_test(
    learner: VectorLearner, judged: Judged, settings: TransferSettings, about: Mapping[str, Any], run: RunHandle
) -> dict[str, float]:
    task, scores = learner.task, learner.scores()
    result = {f"test/{name}": value for name, value in scores.items()}
    if not run.is_global_zero:
        return result
    predictions, references = learner.predictions, learner.references
    names = [judged.names[number] for number in learner.tracks]
    write_test_report(task, predictions, references, run)
    write_predictions(task, names, predictions, run)
    ends = interval(task, predictions, references, seed=run.seed)
    row = _row(task, scores, ends[task.primary], settings, about, len(names) < len(judged))
    run.add_artifact(write_answers(run.directory / row.predictions, names, predictions[None], references))
    write_scores([row], run)
    for metric, (low, high) in ends.items():
        result |= {f"test/{metric}_low": low, f"test/{metric}_high": high}
        say(f"test {metric} {scores[metric]:.4f} [{low:.4f}, {high:.4f}], 95 % over {len(names)} items")
    return result


def _row(
    task: Task,
    scores: Mapping[str, float],
    ends: tuple[float, float],
    settings: TransferSettings,
    about: Mapping[str, Any],
    of_songs: bool,
) -> Score:
    """The score as reports read it."""
    features, data = about["features"], about["data"]
    block, reduction = features["producer"].get("block", ""), features["reduction"]
    usual = {token_reduction(tokens).name: choice for choice, tokens in CHOICES.items()} | {"stored": ""}
    tokens = usual.get(reduction, reduction)
    return Score(
        task=task.name,
        corpus=data["corpus"],
        encoder=about["encoder"],
        kind="probe",
        metric=task.primary,
        score=scores[task.primary],
        low=ends[0],
        high=ends[1],
        seeds=[scores[task.primary]],
        n=int(scores["n_items"]),
        split=data["split_fingerprint"],
        classes=data["classes_fingerprint"],
        network=features["fingerprint"],
        block=block,
        tokens=tokens,
        pooling="mean",
        aggregation="mean of patches" + ("; song: mean" if of_songs else ""),
        config={"hidden": settings.probe.hidden, "dropout": settings.probe.dropout},
        predictions=answers_name(task.name, about["encoder"], block, tokens),
        metrics=dict(scores),
    )
