"""From settings to a learner and its batches: what is trained, or evaluated, on which tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datasets.corpora import integrity
from datasets.corpus import Corpus
from datasets.examples import require_nonempty
from datasets.text import pluralize
from experiments.encoder import Encoder
from experiments.messages import say
from experiments.networks.devices import check_accelerator
from experiments.networks.initial import fetch_weights, frontend_from, initial
from experiments.networks.opening import open_encoder, say_rounded, windowing_of
from experiments.settings import PretrainSettings
from experiments.tasks import find
from experiments.tasks.checks import check_over_time
from experiments.tracking import RunHandle
from experiments.tracks.data import DataSource, build_task, fit_labels, identify, open_source, read_corpus
from experiments.tracks.examples import examples
from experiments.tracks.unmatched import match, report_unannotated
from experiments.training import beat_decoders, distilling, unannotated
from experiments.training.distilling import TeacherOutputs
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.monitoring import monitored
from experiments.training.optimizers import freeze
from experiments.training.phases import phases
from experiments.training.recipes import make_objective, training_augmentations
from experiments.windowing import in_words


@dataclass(frozen=True)
class Subject:
    """A network and the tracks that it is trained or evaluated on.

    Attributes:
        encoder: The network.
        source: Of the tracks.
        corpus: Their annotations.
        stored: Their ids in the store.
        offered: What a teacher gives of them; None: there is no teacher.
        annotated: Whether they have annotations of their own, not those of the teacher alone.
    """

    encoder: Encoder
    source: DataSource
    corpus: Corpus
    stored: Mapping[str, str]
    offered: TeacherOutputs | None = None
    annotated: bool = True


def prepare(settings: PretrainSettings, run: RunHandle, trained: bool = False) -> tuple[Learner, SplitLoaders]:
    """Build everything a trainer needs.

    Args:
        settings: Of the experiment.
        run: The run.
        trained: Take the network and its classes from `inference.checkpoint` or `model.pretrained`, unchanged.
    """
    datamodule, module = settings.datamodule, settings.module
    check_accelerator(settings.trainer)
    beat_decoders.check(settings.rhythm)
    subject = _trained(settings, run) if trained else untrained(settings, run)
    encoder, source, offered = subject.encoder, subject.source, subject.offered
    network = encoder.network
    if trained:
        task = beat_decoders.in_the_test(encoder.task, settings.rhythm, encoder.decoder)
    else:
        task = beat_decoders.in_the_loop(encoder.task, settings.rhythm)
    report_unannotated(task, subject.corpus, datamodule.max_unmatched, run)
    splits = examples(task, subject.corpus, subject.stored)
    description, teacher = {**encoder.description, "run_fingerprint": run.fingerprint}, None
    if trained:
        description["weights"] = encoder.weights
    else:
        require_nonempty(splits, "train", "valid")
        freeze(network, module.freeze)
        if module.freeze:
            encoder.frontend.requires_grad_(False)
    if offered:
        teacher, splits = distilling.make_teacher(settings, offered, splits, source, run)
        description["teacher"] = offered.description
    join, taught = settings.inference.join if trained else None, offered.task if offered else None
    objective = make_objective(task, taught, settings.distillation, join, subject.annotated)
    windowing = windowing_of(settings, encoder, datamodule.clip_length if trained and network.window_samples else None)
    shape, rate = encoder.frontend.item_shape, encoder.frontend.sample_rate
    chain = None if trained else training_augmentations(module, datamodule, source.audio, shape, rate)
    learner = Learner(
        network,
        encoder.inputs,
        objective,
        description,
        phases(module),
        chain,
        monitored(settings.trainer.monitor, task, subject.annotated),
        windowing.frames,
    )
    if trained:
        learner.thresholds = encoder.thresholds
    loaders = SplitLoaders(
        datamodule,
        source.features,
        splits,
        windowing,
        run.seed,
        teacher,
        objective.views,
        trained,
        chain.speeds if chain else None,
        subject.corpus,
        source.base_dir,
    )
    _report(settings, run, learner, loaders)
    return learner, loaders


def _trained(settings: PretrainSettings, run: RunHandle) -> Subject:
    """A trained network, and tracks annotated with what it predicts."""
    datamodule, encoder = settings.datamodule, open_encoder(settings)
    beat_decoders.check_task(settings.rhythm, encoder.task, "an evaluation")
    source = open_source(datamodule, encoder.frontend, encoder.input, task=encoder.task)
    corpus = read_corpus(datamodule, source, encoder.task)
    corpus, stored = match(corpus, source.features.ids, source.base_dir, datamodule.max_unmatched, run)
    encoder = encoder.fed(source.audio)
    say_rounded(encoder, source)
    return Subject(encoder, source, fit_labels(datamodule, corpus, encoder.task), stored)


def untrained(settings: PretrainSettings, run: RunHandle) -> Subject:
    """A network of the settings, made for what the tracks are annotated with, or for what a teacher gives of them."""
    datamodule, logits = settings.datamodule, distilling.open_logits(settings)
    frontend = frontend_from(settings.model)
    # mistakes there do not wait for work on the audio
    training_augmentations(settings.module, datamodule, audio=True, sample_rate=frontend.sample_rate)
    fetch_weights(settings.model)
    if datamodule.task != "auto":
        check_over_time(settings.model.kind, find(datamodule.task))
    alone = unannotated.teacher_alone(settings, logits)
    source = open_source(datamodule, frontend, settings.model.kind.input, labelled=alone is None)
    corpus = unannotated.annotate(settings, alone, source) if alone else read_corpus(datamodule, source)
    corpus, stored = match(corpus, source.features.ids, source.base_dir, datamodule.max_unmatched, run)
    if alone:
        offered, task = alone, alone.task
    else:
        corpus, task = build_task(datamodule, corpus, taught=distilling.taught_labels(settings, logits))
        offered = distilling.teacher_outputs(settings, logits, task) if logits else None
    beat_decoders.check_task(settings.rhythm, task, "a training")
    second_head, kind = offered.second_head if offered else None, "audio" if source.audio else "features"
    encoder = initial(settings, frontend, task, second_head, kind)
    return Subject(encoder, source, corpus, stored, offered, alone is None)


def _report(settings: PretrainSettings, run: RunHandle, learner: Learner, loaders: SplitLoaders) -> None:
    """Note with the run, and tell the user, what is trained on what."""
    corpus, task, splits = loaders.corpus, learner.objective.task, loaders.splits
    parameters = [parameter for part in (learner.net, learner.inputs) for parameter in part.parameters()]
    moving = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in parameters)
    if moving < total and settings.module.freeze:
        random = "" if settings.model.pretrained or settings.model.checkpoint else "; the frozen ones are random"
        say(f"module.freeze={settings.module.freeze}: {moving:,} of {total:,} parameters are trained{random}")
    run.set_info(
        target=task.name,
        data={
            **identify(corpus, {split: examples.ids for split, examples in splits.items()}, task),
            "parameters": total,
            "parameters_trained": moving,
        },
    )
    if (verdicts := loaders.audio_dir / integrity.FILE).is_file():
        run.add_artifact(verdicts)
    sizes = ", ".join(f"{len(examples)} {split}" for split, examples in splits.items())
    outputs = pluralize(len(task.classes), {"values": "value", "events": "curve"}.get(task.kind, "class"))
    version = f", annotations {corpus.version}" if corpus.version else ""
    length = in_words(loaders.windowing, learner.inputs.frontend)
    say(f"{corpus.name}: {sizes} tracks, {outputs}, windows of {length}{version}")
