"""A head on a frozen network: every track is encoded once, then the head is trained on vectors.

The evaluation of CLMR and TUNe (Spijkervet and Burgoyne, ISMIR 2021; Vélez Vásquez and Burgoyne, ISMIR 2022), with one
random crop of every track, or with all its windows as in CLMR's first version. Unlike there, the test is of the weights
that were best in validation, not of those at the end, and a last window that has at least nine tenths of its samples
counts. What is saved is the whole network, so that it is evaluated, applied and exported as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from datasets.examples import Examples, require_nonempty
from datasets.intervals import IntervalError
from datasets.store import Store
from datasets.text import pluralize
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.selection import say_unfitted, selection_of
from experiments.labels import check_whole
from experiments.messages import say
from experiments.networks.devices import check_accelerator, runtime_of
from experiments.networks.opening import windowing_of
from experiments.objectives import Supervised
from experiments.objectives.base import Batch
from experiments.probes.vectors import Split
from experiments.settings import PretrainSettings
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from experiments.tracks.data import identify
from experiments.tracks.examples import examples
from experiments.tracks.unmatched import report_unannotated
from experiments.training.continuing import begin
from experiments.training.fitting import fit
from experiments.training.learner import Learner
from experiments.training.monitoring import monitored
from experiments.training.optimizers import freeze
from experiments.training.phases import phases
from experiments.training.preparing import Subject, untrained
from experiments.training.pretraining import report_test, what_next
from experiments.training.trainer import best_checkpoint
from experiments.transfer.averages import report_averages
from experiments.transfer.data import StoredVectors
from experiments.transfer.encoding import encode
from models.augment import Chain
from models.kernels.subnormals import flushing
from models.running import Runtime

TEST_BATCH = 4096  # vectors


class OfHead(Supervised):
    """Supervised learning of the head of a network; batches hold what it sees as `x [batch, values]`."""

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Of what the head gives."""
        return super().loss(network.output_layer, batch)

    def keep(self, network: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Outputs of the head, and the targets."""
        return super().keep(network.output_layer, batch)


class HeadLearner(Learner):
    """A learner whose batches hold vectors; the network and its inputs are there to be saved with the head."""

    def prepared(self, batch: Mapping[str, Any], augmentations: Chain | None = None) -> dict[str, Any]:
        """The batch as it is."""
        return dict(batch)

    def input_shape(self, batch: Mapping[str, Any]) -> tuple[int, ...]:
        """`[values]`."""
        return tuple(batch["x"].shape[1:])


@flushing()
def train_head(settings: PretrainSettings, kind: Literal["crop", "windows"], run: RunHandle) -> dict[str, float]:
    """Encode the tracks, train the head, evaluate the best one on whole test tracks.

    Args:
        settings: Of a training from audio.
        kind: What of every track is trained on and validated by: one random crop, or all windows.
        run: Gets results and files.

    Returns:
        `val/*` of the best epoch and, where there is a test split that can be scored, `test/*`.

    Raises:
        UserError: The training diverged; or the settings, tracks or weights do not fit.
    """
    (learner, vectors, tracks, data), checkpoint = begin(settings, run, lambda: _prepare(settings, kind, run))
    trainer, _, result = fit(learner, vectors, settings.trainer, settings.module, run, checkpoint)
    best = best_checkpoint(settings.trainer, run.directory)
    task = learner.objective.task
    if "test" in vectors.splits:
        trainer.test(learner, vectors, ckpt_path=best, verbose=False, weights_only=True)
        try:
            selection = selection_of(settings.inference, task, learner.thresholds)
            say_unfitted(settings.inference, task, learner.thresholds)
            targets = tracks["train"].targets
            result |= report_test(settings, learner, run, tracks["test"], selection, targets)
            if run.is_global_zero and task.kind != "values":
                head, test, made = learner.net.output_layer, vectors.splits["test"], learner.evaluation.predictions
                result |= report_averages(task, data, head, test, made, run)
        except (UserError, IntervalError) as error:  # too few test tracks: the training is none the worse for it
            say(f"no test scores: {error}")
    if run.is_global_zero:
        what_next(settings, task, run)
    return result


def _prepare(
    settings: PretrainSettings, kind: Literal["crop", "windows"], run: RunHandle
) -> tuple[HeadLearner, StoredVectors, dict[str, Examples], dict[str, Any]]:
    """The learner, its vectors, the tracks that they are of, and these as `identify` has them."""
    datamodule, module = settings.datamodule, settings.module
    check_accelerator(settings.trainer)
    subject = untrained(settings, run)
    encoder = replace(subject.encoder, runtime=Runtime(**runtime_of(settings.trainer)))
    task = encoder.task
    check_whole(task, "a head on vectors gives")
    report_unannotated(task, subject.corpus, datamodule.max_unmatched, run)
    splits = examples(task, subject.corpus, subject.stored)
    require_nonempty(splits, "train", "valid")
    freeze(encoder.network, "all")
    encoder.frontend.requires_grad_(False)
    stores = _encoded(settings, subject, encoder, splits, kind)
    tracks = {name: _those_in(stores[name], one) for name, one in splits.items()}
    require_nonempty(tracks, "train", "valid")
    vectors = {name: _split(stores[name], one) for name, one in tracks.items() if len(one)}
    learner = HeadLearner(
        encoder.network,
        encoder.inputs,
        OfHead(task),
        {**encoder.description, "run_fingerprint": run.fingerprint},
        phases(module),
        monitor=monitored(settings.trainer.monitor, task),
    )
    data = identify(subject.corpus, {name: one.ids for name, one in tracks.items()}, task)
    _report(encoder, task, data, tracks, run)
    in_batches = datamodule.model_copy(update={"batch_size_test": TEST_BATCH})
    return learner, StoredVectors(in_batches, vectors, run.seed), tracks, data


def _encoded(
    settings: PretrainSettings,
    subject: Subject,
    encoder: Encoder,
    splits: Mapping[str, Examples],
    kind: Literal["crop", "windows"],
) -> dict[str, Store]:
    """The store of every split; whole tracks are tested in any case."""
    cropped = ("train", "valid") if kind == "crop" else ()
    by_seed: dict[int | None, list[str]] = {}
    for split in splits:
        by_seed.setdefault(settings.seed if split in cropped else None, []).append(split)
    windowing, stores = windowing_of(settings, encoder), {}
    for seed, names in by_seed.items():
        ids = [identity for name in names for identity in splits[name].stored]
        if ids:
            store = encode(encoder, subject.source, windowing, ids, settings.inference.batch_size, seed)
            stores |= dict.fromkeys(names, store)
    return stores


def _those_in(store: Store, tracks: Examples) -> Examples:
    """The tracks that could be encoded."""
    there = set(store.ids)
    rows = [row for row, identity in enumerate(tracks.stored) if identity in there]
    return tracks if len(rows) == len(tracks) else tracks.some(rows)


def _split(store: Store, tracks: Examples) -> Split:
    """The vectors of tracks, whose windows have their target."""
    arrays = [store.read(identity) for identity in tracks.stored]
    counts = [len(array) for array in arrays]
    names = np.repeat(np.array(tracks.ids, dtype=object), counts).tolist()
    return Split(np.concatenate(arrays), np.repeat(tracks.targets, counts, axis=0), names, groups=tuple(names))


def _report(encoder: Encoder, task: Task, data: dict[str, Any], tracks: Mapping[str, Examples], run: RunHandle) -> None:
    """Note with the run, and tell the user, what is trained on what; of tags, how many tracks have none."""
    parameters = [*encoder.network.parameters(), *encoder.frontend.parameters()]
    moving = sum(one.numel() for one in parameters if one.requires_grad)
    total = sum(one.numel() for one in parameters)
    sizes = ", ".join(f"{len(one)} {name}" for name, one in tracks.items())
    line = f"{data['corpus']}: {sizes} tracks, {pluralize(len(task.classes), 'output')}"
    if task.kind == "tags":
        untagged = {name: int((~one.targets.any(axis=1)).sum()) for name, one in tracks.items() if len(one)}
        data["untagged"] = untagged
        line += f"; without a tag {', '.join(f'{count} {name}' for name, count in untagged.items())}"
    run.set_info(target=task.name, data={**data, "parameters": total, "parameters_trained": moving})
    say(f"{line}; {moving:,} of {total:,} parameters are trained")
