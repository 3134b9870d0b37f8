"""Transfer learning: MAEST's probe on stored embeddings, the best one evaluated on the test split and kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from datasets.examples import check_no_group_leakage, require_nonempty
from datasets.intervals import IntervalError
from datasets.text import pluralize
from experiments import reports
from experiments.class_report import write_test_report
from experiments.errors import UserError
from experiments.intervals import interval
from experiments.labels import check_whole
from experiments.messages import say
from experiments.networks.devices import check_accelerator
from experiments.objectives import Supervised
from experiments.probes.fitted import FittedProbe
from experiments.probes.prediction import command
from experiments.probes.records import Score, layer_name, predictions_name, save_predictions, write_scores
from experiments.probes.representations import Representation
from experiments.probes.rows import measured_on
from experiments.probes.splits import LabelledTracks, warn_of_other_audio
from experiments.probes.validation import check_scorable, items
from experiments.probes.vectors import Split
from experiments.tracking import RunHandle
from experiments.tracks.data import build_task, identify, open_source, read_corpus
from experiments.tracks.examples import examples
from experiments.tracks.unmatched import match, report_unannotated
from experiments.training.averaging import averaging, take_out
from experiments.training.checkpointing import AtomicCheckpoints
from experiments.training.continuing import begin
from experiments.training.fitting import fit
from experiments.training.learner import Learner
from experiments.training.monitoring import LOSS, monitored
from experiments.training.optimizers import freeze
from experiments.training.phases import phases
from experiments.training.pretraining import write_predictions
from experiments.training.recipes import vector_augmentations as augmentations
from experiments.training.trainer import History, best_checkpoint
from experiments.transfer.data import StoredVectors, stored
from experiments.transfer.settings import TransferSettings
from models.kernels.subnormals import flushing
from models.mlp import MLP
from models.probes.grids import ProbeConfig


@flushing()
def transfer(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Train the probe, evaluate its best checkpoint on the test split, and keep it as a file for `predict`.

    Returns:
        `val/*` of the best epoch and, where there is a test split that can be scored, `test/*`.

    Raises:
        UserError: The training diverged; or the settings, tracks or vectors do not fit.
    """
    check_accelerator(settings.trainer)
    (learner, data, representation, tracks), checkpoint = begin(settings, run, lambda: prepare(settings, run))
    trainer, curves, result = fit(learner, data, settings.trainer, settings.module, run, checkpoint)
    best = best_checkpoint(settings.trainer, run.directory)
    probe = fitted(learner, settings, data, curves, best, run.seed)
    kept = _keep(probe, settings, run) if run.is_global_zero else None
    if "test" in data.splits:
        trainer.test(learner, data, ckpt_path=best, verbose=False, weights_only=True)
        score = replace(
            measured_on(learner.objective.task, tracks, representation),
            config={"hidden": settings.probe.hidden, "dropout": settings.probe.dropout},
            valid=None if learner.monitor == LOSS else result[learner.monitor],
        )
        try:
            result.update(_report_test(learner, data.splits, score, representation, run))
        except (UserError, IntervalError) as error:  # too few test tracks: the training is none the worse for it
            say(f"no test scores: {error}")
    if kept:
        applied = command("ex_transfer.py", probe.features, kept)
        say(f"the probe: {kept}" + (f"\nnext: {applied}" if applied else ""))
    return result


def prepare(
    settings: TransferSettings, run: RunHandle
) -> tuple[Learner, StoredVectors, Representation, dict[str, Any]]:
    """Build what a trainer needs; also gives what the vectors are, and the tracks as `identify` has them."""
    representation = stored(settings.embeddings)
    (store,) = representation.stores
    source = open_source(settings.datamodule)
    warn_of_other_audio([representation], source)
    corpus, paired = match(
        read_corpus(settings.datamodule, source), store.ids, store.path, settings.datamodule.max_unmatched, run
    )
    corpus, task = build_task(settings.datamodule, corpus)
    check_whole(task, "a probe has")
    report_unannotated(task, corpus, settings.datamodule.max_unmatched, run)
    encoded = examples(task, corpus, paired)
    require_nonempty(encoded, "train", "valid")
    check_no_group_leakage(encoded, corpus)
    tracks = LabelledTracks.of(encoded, corpus)
    splits = {
        name: replace(tracks.split(name, representation.vectors(one.stored), representation), ids=list(one.ids))
        for name, one in encoded.items()
        if len(one)
    }
    for split in splits.values():
        items(task, split)  # clips of a song have one annotation
    usual = LOSS
    if settings.probe.monitor == "metric":
        usual = f"val/{task.primary}"
        try:
            check_scorable(task, splits["valid"])
        except UserError as error:
            raise UserError(f"{error}; or choose the best by its loss: probe.monitor=loss") from None
    network = MLP(splits["train"].x.shape[1], task.n_outputs, settings.probe.hidden, settings.probe.dropout)
    freeze(network, settings.module.freeze)
    description = {
        "network": network.hyperparameters,
        **task.metadata,
        "features": representation.origin,
        "run_fingerprint": run.fingerprint,
    }
    optimizer = settings.module.optimizer.over(settings.trainer.max_epochs)
    module = settings.module.model_copy(update={"optimizer": optimizer})
    learner = Learner(
        network,
        nn.Identity(),
        Supervised(task),
        description,
        phases(module),
        augmentations(module),
        monitored(settings.trainer.monitor, task) if settings.trainer.monitor else usual,
    )
    data = identify(corpus, {name: one.ids for name, one in encoded.items()}, task)
    parameters = sum(weight.numel() for weight in network.parameters())
    run.set_info(
        target=task.name,
        data={**data, "parameters": parameters},
        store=str(store.path),
        reduction=representation.reduction.name,
    )
    sizes = ", ".join(f"{len(one)} {name}" for name, one in encoded.items())
    say(
        f"{source.name}: {sizes} tracks, {task.name}, {pluralize(task.n_outputs, 'output')}; {store.path}, "
        f"{representation.reduction.name}"
    )
    return learner, StoredVectors(settings.datamodule, splits, run.seed), representation, data


def fitted(
    learner: Learner, settings: TransferSettings, data: StoredVectors, curves: History, checkpoint: Path, seed: int
) -> FittedProbe:
    """The network of a checkpoint, which the learner gets, as a probe that knows what its vectors were made by."""
    loaded = AtomicCheckpoints().load_checkpoint(checkpoint)
    suffix = averaging(settings.module).suffix if take_out(loaded, instead=True) else ""
    learner.load_state_dict(loaded["state_dict"])
    state = {name: value.detach().float().cpu().numpy() for name, value in learner.net.state_dict().items()}
    weights = {f"{to}.{part}": state[f"net.{of}.{part}"] for to, of in ((0, 0), (1, 3)) for part in ("weight", "bias")}
    optimizer, width = learner.phases[-1].optimizer, weights["0.weight"].shape[1]
    task, best, stop = learner.objective.task, int(loaded["global_step"]), learner.trainer.global_step
    curve = curves.series.get(f"val/{task.primary}{suffix}", [])
    return FittedProbe(
        task=task,
        config=ProbeConfig(
            standardise=False,
            hidden=settings.probe.hidden,
            batch_size=settings.datamodule.batch_size_train,
            learning_rate=optimizer.lr,
            dropout=settings.probe.dropout,
            max_steps=stop,
        ),
        seed=seed,
        weights=weights,
        mean=np.zeros(width),
        scale=np.ones(width),
        features=data.splits["train"].features,
        value=dict(curve).get(best, math.nan),
        loss=dict(curves.series.get(f"val/loss{suffix}", [])).get(best, math.nan),
        best_step=best,
        stop_step=stop,
        curve=tuple(curve),
        recipe={"optimizer": optimizer.model_dump(), "epochs": settings.trainer.max_epochs, "input_dropout": 0.0},
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
    learner: Learner, splits: Mapping[str, Split], score: Score, representation: Representation, run: RunHandle
) -> dict[str, float]:
    """Score the test split with intervals and keep what reports read; `score` has what is known before."""
    task, evaluation = learner.objective.task, learner.evaluation
    predictions, references = evaluation.predictions, evaluation.references
    scores = task.score(predictions, references)
    result = {f"test/{name}": value for name, value in scores.items()}
    if not run.is_global_zero:
        return result
    tracks, _ = items(task, splits["test"])
    names = [tracks[number] for number in evaluation.tracks]
    system = ", ".join(filter(None, (representation.encoder, layer_name(representation.block))))
    write_test_report(task, predictions, references, run, splits["train"].y, system=system)
    write_predictions(task, names, predictions, run)
    ends = interval(task, predictions, references, seed=run.seed)
    value, (low, high) = scores[task.primary], ends[task.primary]
    row = replace(
        score,
        score=value,
        low=low,
        high=high,
        seeds=[value],
        n=int(scores["n_items"]),
        aggregation="mean of windows" + ("; song: mean" if len(names) < len(splits["test"].ids) else ""),
        predictions=predictions_name(task.name, representation.encoder, representation.block, representation.tokens),
        metrics=dict(scores),
    )
    run.add_artifact(save_predictions(run.directory / row.predictions, names, predictions[None], references))
    write_scores([row], run)
    for metric, (low, high) in ends.items():
        result |= {f"test/{metric}_low": low, f"test/{metric}_high": high}
        shown = reports.with_interval(scores[metric], low, high)
        say(f"test {metric} {shown} per cent, ± half of the 95 % interval over {len(names)} {row.unit}")
    return result
