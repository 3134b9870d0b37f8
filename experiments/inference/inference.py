"""A trained network over a corpus: stores of embeddings and of logits."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from datasets.store import Store
from datasets.text import pluralize
from experiments import distributed
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference import students
from experiments.inference.batching import ExtractionReport, Job, Output
from experiments.inference.extraction import extract, header, made_of_other
from experiments.labels import check_whole
from experiments.layer_folders import as_stored, folder_of
from experiments.messages import say
from experiments.networks.opening import layers_of, open_encoder, say_rounded, windowing_of
from experiments.settings import DatamoduleSettings, PretrainSettings
from experiments.tracking import RunHandle
from experiments.tracks.annotations import TEACHER
from experiments.tracks.data import DataSource, open_source, read_corpus, spell
from experiments.tracks.unmatched import match
from experiments.windowing import Windowing
from models.cost import savings
from models.fingerprint import fingerprint
from models.running import logits_of, tokens_of
from preprocess.cluster import Cluster, ClusterError, connected


@contextlib.contextmanager
def _cluster(scheduler: str) -> Iterator[Cluster]:
    """The Dask cluster that extracts.

    Raises:
        UserError: It cannot be reached, fails, or several processes were launched.
    """
    if distributed.world_size() > 1:
        raise UserError("inference.scheduler: one process gives a Dask cluster its work; leave the launcher out")
    try:
        with connected(scheduler, "inference.scheduler", __name__) as cluster:
            yield cluster
    except ClusterError as error:
        raise UserError(str(error)) from error


def extract_embeddings(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store the tokens of one or several layers, `[windows, tokens, dim]` a track."""
    encoder = open_encoder(settings)
    layers = layers_of(settings.inference, encoder)
    encoder, windowing, source = _with_source(settings, encoder)
    producer = _producer(encoder, windowing)
    folder, item_shape = _folder(settings.inference.out_dir, source, producer), encoder.frontend.item_shape
    network = encoder.network
    outputs = [
        Output(
            as_stored(folder / folder_of(network.describe_layer(layer).get("block", layer))),
            header(
                "embeddings",
                network.embedding_shape(layer, item_shape, windowing.frames),
                f"tokens: {', '.join(network.token_names)}",
                {**producer, **network.describe_layer(layer)},
            ),
        )
        for layer in layers
    ]
    return _extract(settings, run, encoder, source, windowing, outputs, layers)


def extract_logits(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store the logits of every window, `[windows, classes]` a track."""
    if settings.inference.random_weights:
        raise UserError("inference.random_weights: an untrained network has no classes; it is for extract_embeddings")
    encoder = open_encoder(settings)
    if encoder.network.over_time:
        check_whole(encoder.task, "a store of logits holds")
    encoder, windowing, source = _with_source(settings, encoder)
    producer = _producer(encoder, windowing)
    meaning = {key: encoder.description[key] for key in ("task", "labels", "options") if key in encoder.description}
    made = {**producer, **meaning, "frame_rate": encoder.frontend.frame_rate}
    shape = (encoder.network.n_classes,)
    folder = _folder(settings.inference.out_dir, source, producer) / "logits"
    outputs = [Output(folder, header("logits", shape, "logit", made))]
    return _extract(settings, run, encoder, source, windowing, outputs)


def _with_source(settings: PretrainSettings, encoder: Encoder) -> tuple[Encoder, Windowing, DataSource]:
    """The features that a network wants; a length that it does not take is an error before they are computed."""
    datamodule = settings.datamodule
    seconds = datamodule.clip_length
    windowing_of(settings, encoder, seconds, stored=True)
    source = open_source(datamodule, encoder.frontend, encoder.input, labelled=_by_table(datamodule))
    encoder = encoder.fed(source.audio)
    say_rounded(encoder, source)
    return encoder, windowing_of(settings, encoder, seconds, stored=True), source


def _producer(encoder: Encoder, windowing: Windowing) -> dict[str, Any]:
    """What made a store, so that nothing else is added to it."""
    return {**encoder.identity, "weights": encoder.weights, **windowing.record}


def _extract(
    settings: PretrainSettings,
    run: RunHandle,
    encoder: Encoder,
    source: DataSource,
    windowing: Windowing,
    outputs: list[Output],
    layers: Sequence[str] = (),
) -> dict[str, float]:
    """Fill the stores: with tokens of layers, without any with logits."""
    inference = settings.inference
    x_shape = (windowing.frames, *encoder.frontend.item_shape)
    if line := savings(encoder.network, x_shape, layers[-1] if layers else None):
        say(line)
    ids = _wanted(settings.datamodule, source)
    if distributed.rank() == 0:
        for output in outputs:
            _make_way(output, source, ids, inference.overwrite)
        _warn_of_missing_audio(source, ids)
    distributed.barrier()
    forward = partial(tokens_of, layers=layers) if layers else logits_of
    job = Job(source.features, windowing, encoder.runner(forward, torch.float16), outputs, inference.batch_size)
    if inference.scheduler is None:
        report = extract(job, ids)
    else:
        with _cluster(inference.scheduler) as cluster:
            report = extract(job, ids, cluster)
    if report.short:
        seconds = windowing.rows / windowing.rate
        say(f"{report.short} tracks are shorter than nine tenths of a window ({seconds:.1f} s): padded with silence")
    _print_summary(report, outputs)
    _print_next(settings, encoder, source, outputs)
    run.set_info(
        stores=[str(output.folder) for output in outputs], skipped=len(report.skipped), shorter_than_window=report.short
    )
    if report.skipped and not report.written and not report.already:
        identity, reason = report.skipped[0]
        raise UserError(f"none of {len(ids)} tracks could be stored; {identity}: {reason}")
    return {"written": report.written, "already": report.already, "skipped": len(report.skipped)}


def _make_way(output: Output, source: DataSource, ids: Sequence[str], overwrite: bool) -> None:
    """Refuse, or remove where that is wanted, a store in the folder that was made otherwise or from other audio."""
    if not (output.folder / "header.json").is_file():
        return
    store = Store(output.folder)
    if store.header.fingerprint != output.header.fingerprint:
        what = "is of another network, layer or window"
    elif other := made_of_other(store, source.features, ids):
        what = f"has {len(other)} tracks of the same name but other audio, for instance {other[0]!r}"
    else:
        return
    if not overwrite:
        raise UserError(
            f"the store {output.folder} {what}: "
            f"choose another inference.out_dir, or replace it with inference.overwrite=True"
        )
    shutil.rmtree(output.folder)


def _warn_of_missing_audio(source: DataSource, ids: Sequence[str]) -> None:
    """Say how many tracks have features, but no audio any more; only where the features were made of a folder."""
    if source.features.path.resolve() == source.base_dir.resolve():
        return
    gone = [identity for identity in ids if not (source.base_dir / identity).exists()]
    if gone:
        say(
            f"{len(gone)} tracks are in the store {source.features.path}, but no longer in {source.base_dir}, "
            f"for instance {gone[0]!r}: extracted all the same; datamodule.store_dir=ANOTHER leaves them out"
        )


def _wanted(datamodule: DatamoduleSettings, source: DataSource) -> list[str]:
    """Stored ids: the labelled ones where a table is given explicitly, else all."""
    if not _by_table(datamodule):
        return list(source.features.ids)
    corpus = read_corpus(datamodule, source)
    _, stored = match(corpus, source.features.ids, source.base_dir, datamodule.max_unmatched)
    return list(stored.values())


def _by_table(datamodule: DatamoduleSettings) -> bool:
    """Whether annotations say which tracks are wanted."""
    tables = ("groundtruth", "groundtruth_train", "groundtruth_val", "groundtruth_test")
    return any(getattr(datamodule, name) for name in tables) and datamodule.groundtruth != TEACHER


def _folder(out_dir: str | None, source: DataSource, producer: dict[str, Any]) -> Path:
    if out_dir:
        return Path(out_dir).expanduser()
    made = fingerprint({**producer, "folder": str(source.base_dir.resolve())})
    return Path("outputs/embeddings") / f"{source.name}-{made[:8]}"


def _print_summary(report: ExtractionReport, outputs: list[Output]) -> None:
    written = pluralize(report.written, "track")
    say(f"{written} stored, {report.already} were there already, {len(report.skipped)} skipped")
    if report.skipped:
        say(f"skipped tracks and why: {outputs[0].folder / 'skipped.csv'}")
    for output in outputs:
        say(f"{output.header.kind}: {output.folder}")


def _print_next(settings: PretrainSettings, encoder: Encoder, source: DataSource, outputs: list[Output]) -> None:
    """Print the command that uses the stores: probes of embeddings, a student of logits."""
    datamodule = settings.datamodule
    if outputs[0].header.kind == "logits":
        if words := students.command(settings, encoder, source, outputs[0].folder):
            say(f"next: {words}")
        return
    folder = outputs[0].folder.parent if len(outputs) > 1 else outputs[0].folder
    store = shlex.quote(f"embeddings.store={folder}")
    if datamodule.task != "auto":  # a sweep has its tasks elsewhere
        store += f" {shlex.quote(f'probe.tasks=[{datamodule.task}]')}"
        datamodule = datamodule.model_copy(update={"task": "auto"})
    say(f"next: python ex_probe.py with {store}{spell(datamodule, annotated=True)}")
