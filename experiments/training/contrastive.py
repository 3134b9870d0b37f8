"""Pre-training without labels: contrastive learning on any folder of audio, or store."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import torch

from datasets.examples import Examples
from datasets.store import Reader
from datasets.text import pluralize
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.messages import say
from experiments.networks.devices import check_accelerator
from experiments.networks.initial import fetch_weights, frontend_from, initial
from experiments.networks.opening import windowing_of
from experiments.objectives import Contrastive
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
from experiments.tracks.data import open_source, spell
from experiments.tracks.unlabelled import split_tracks
from experiments.training.continuing import begin
from experiments.training.fitting import fit
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.monitoring import monitored
from experiments.training.optimizers import freeze
from experiments.training.phases import phases
from experiments.training.recipes import training_augmentations
from experiments.training.trainer import best_checkpoint, processes
from experiments.training.watching import say_course, watch
from experiments.windowing import in_words
from models.fingerprint import fingerprint
from models.network import Network


def pretrain(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Train a network to tell tracks from each other.

    Returns:
        `val/*` of the best epoch.

    Raises:
        UserError: The training diverged; or settings, tracks or weights do not fit.
    """
    (learner, loaders), checkpoint = begin(settings, run, lambda: prepare(settings, run))
    if settings.trainer.compile:
        learner.net.compile_parts()
    watching = watch(settings, learner, loaders, run)
    _, curves, result = fit(learner, loaders, settings.trainer, settings.module, run, checkpoint, watching)
    if run.is_global_zero:
        steps = loaders.steps_per_epoch(settings.trainer, processes(settings.trainer))
        say_course(curves, learner.objective.shown, steps, len(loaders.splits["valid"]))
        best = best_checkpoint(settings.trainer, run.directory)
        tracks = spell(settings.datamodule)
        words = shlex.join([f"inference.checkpoint={best}", *settings.model.words])
        say(f"best checkpoint: {best}")
        say(f"next: python ex_pretrain.py extract_embeddings with {words}{tracks}")
        words = shlex.join([f"model.checkpoint={best}", *settings.model.words])
        say(f"or, with labels: python ex_transfer.py with clmr_linear {words}{tracks}")
    return result


def prepare(settings: PretrainSettings, run: RunHandle) -> tuple[Learner, SplitLoaders]:
    """Build everything a trainer needs: a network without outputs, the objective, and tracks without labels."""
    datamodule, module, wanted = settings.datamodule, settings.module, settings.contrastive
    check_accelerator(settings.trainer)
    module = module.model_copy(update={"mixup_alpha": 0.0})  # without labels there is nothing to mix
    frontend = frontend_from(settings.model)
    training_augmentations(module, datamodule, audio=True, sample_rate=frontend.sample_rate)
    fetch_weights(settings.model)
    source = open_source(datamodule, frontend, settings.model.kind.input, labelled=False)
    splits = _examples(split_tracks(datamodule, source))
    together = processes(settings.trainer)
    drawn = min(len(splits["train"]), datamodule.sampler.epoch_len)
    demo = " of the demo corpus" if datamodule.base_dir is None else ""
    check_numbers(drawn, len(splits["valid"]), datamodule.batch_size_train, together, demo)
    encoder = initial(settings, frontend, None, input="audio" if source.audio else "features")
    freeze(encoder.network, module.freeze)
    windowing = windowing_of(settings, encoder)
    length = in_words(windowing, encoder.frontend)
    check_length(source.features, splits["train"].stored, windowing.rows, length)
    chain = training_augmentations(module, datamodule, source.audio, frontend.item_shape, frontend.sample_rate)
    dim = keep_unread(encoder.network, (windowing.frames, *encoder.frontend.item_shape))
    crops, batch = 2 if wanted.views == "crops" else 1, datamodule.batch_size_train * together
    objective = Contrastive(dim, wanted.hidden, wanted.size, wanted.temperature, crops, wanted.masked, batch)
    learner = Learner(
        encoder.network,
        encoder.inputs,
        objective,
        {**encoder.description, "run_fingerprint": run.fingerprint},
        phases(module),
        chain,
        monitored(settings.trainer.monitor),
        windowing.frames,
    )
    loaders = SplitLoaders(
        datamodule,
        source.features,
        splits,
        windowing,
        run.seed,
        views=objective.views,
        speeds=chain.speeds,
        audio_dir=source.base_dir,
        whole_batches=objective.whole_batches,
    )
    _report(encoder, objective, loaders, source.name, length, run)
    return learner, loaders


def _examples(splits: Mapping[str, str]) -> dict[str, Examples]:
    by_split = {"train": [], "valid": [], "test": []}
    for identity, split in splits.items():
        by_split[split].append(identity)
    return {split: Examples(tuple(ids), tuple(ids), None) for split, ids in by_split.items()}


def keep_unread(network: Network, shape: Sequence[int]) -> int:
    """Train no parameter that embeddings do not depend on, such as those of heads and of layers behind.

    Several processes would wait for their gradients.

    Args:
        network: Whose default layer is trained.
        shape: `[frames, *item_shape]` of a window.

    Returns:
        Values of an embedding.
    """
    layer, training = network.default_layer, network.training
    tokens = network.eval().embed(torch.zeros(1, *shape), [layer])[layer]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(tokens.sum(), trained, allow_unused=True) if trained else ()
    for parameter, gradient in zip(trained, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    network.train(training)
    return tokens.shape[-1]


def check_numbers(train: int, valid: int, batch: int, processes: int = 1, corpus: str = "") -> None:
    """Refuse fewer tracks for training than a batch has, and too few for validation to tell them from each other.

    Args:
        train: Tracks of an epoch.
        valid: Tracks of a validation.
        batch: Tracks of a batch of one process.
        processes: That train side by side.
        corpus: Which tracks these are, where the settings do not name any.

    Raises:
        UserError: There are too few.
    """
    if train < 2:
        raise UserError(
            f"contrastive learning tells tracks from each other, and {pluralize(train, 'track is', 'tracks are')} for "
            "training: give datamodule.base_dir a folder with more audio files"
        )
    if valid < 2:
        few = f"{pluralize(valid, 'track is', 'tracks are')} for validation, which tells tracks from each other and "
        if train + valid < 4:
            raise UserError(
                f"{few}takes at least 2, as the training does: give datamodule.base_dir a folder with 4 or more audio "
                "files, better many more"
            )
        raise UserError(
            f"{few}takes at least 2: put more into the split valid of the table, or into a folder valid/, or let a "
            "hash choose them: datamodule.splits=hashed datamodule.split_shares=[0.9,0.1,0.0]"
        )
    share = -(-train // processes)
    if share < batch:
        each = f", {share} of them for each of {processes} processes" if processes > 1 else ""
        raise UserError(
            f"datamodule.batch_size_train={batch}: only {train} tracks{corpus} are for training{each}, and every track "
            f"stands in a batch once: set it to {share} or less, or datamodule.base_dir to a folder of more audio files"
        )


def check_length(features: Reader, ids: tuple[str, ...], rows: int, length: str) -> None:
    """Say how many tracks are shorter than a crop, which is padded then; refuse a corpus of nothing else.

    Args:
        features: Of the tracks.
        ids: Those of the training.
        rows: Of a crop.
        length: The same in words.

    Raises:
        UserError: No track is as long as a crop.
    """
    short = sum(features.length(identity) < rows for identity in ids)
    if short == len(ids):
        raise UserError(
            f"all {pluralize(short, 'training track is', 'training tracks are')} shorter than a crop of {length}: "
            "both views would be the same audio; give longer audio, or a network of shorter windows"
        )
    if short:
        say(f"{pluralize(short, 'training track is', 'training tracks are')} shorter than a crop and padded")


def _report(
    encoder: Encoder, objective: Contrastive, loaders: SplitLoaders, name: str, length: str, run: RunHandle
) -> None:
    """Note with the run, and tell the user, what is trained on what."""
    tracks = {split: len(one) for split, one in loaders.splits.items()}
    parameters = {
        part: sum(parameter.numel() for parameter in module.parameters())
        for part, module in (("encoder", encoder.network), ("projection", objective))
    }
    run.set_info(
        data={
            "corpus": name,
            "split_fingerprint": fingerprint({split: sorted(one.ids) for split, one in loaders.splits.items()}),
            "tracks": tracks,
            "classes": 0,
            "parameters": sum(parameters.values()),
        }
    )
    sizes = ", ".join(f"{count} {split}" for split, count in tracks.items() if count)
    counted = " and ".join(f"{count:,} of the {part}" for part, count in parameters.items())
    say(f"{name}: {sizes} tracks without labels, crops of {length}; parameters: {counted}")
