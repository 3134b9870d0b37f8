"""A trained network over a corpus or over single files: embeddings, logits, ranked classes."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets.store import Store
from datasets.text import pluralize
from experiments import distributed, networks
from experiments.errors import UserError
from experiments.inference.cost import savings, use_threads
from experiments.inference.extraction import Output, Report, extract, header, made_of_other
from experiments.messages import say
from experiments.settings import DatamoduleSettings, PretrainSettings
from experiments.tracking.run import RunHandle
from experiments.tracks.data import DataSource, clip_frames, open_source, read_corpus, spell
from experiments.tracks.unmatched import match
from experiments.training.trainer import check_accelerator, precision
from models.attention import prefer
from models.fingerprint import fingerprint
from preprocess.cluster import Cluster, ClusterError, connected

_made_once = threading.Lock()
STUDENT = "ex_pretrain.py with maest_30s_teacher_student_pretrain"


def device_of(settings: PretrainSettings) -> torch.device:
    """Where inference runs: CUDA where there is one, unless the trainer's accelerator says otherwise."""
    wanted = settings.trainer.accelerator
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    launch = distributed.launch()
    return torch.device(wanted, launch.local_rank) if wanted == "cuda" and launch else torch.device(wanted)


def runner(
    found: networks.Loaded, settings: PretrainSettings, forward: Callable[[nn.Module, Tensor], Any]
) -> Callable[[Tensor], Any]:
    """Wrap a network's function: stored clips `[windows, frames, bands]` in, whatever it gives out, no gradients."""
    use_threads(settings.inference.threads)
    device = device_of(settings)
    mixed = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision(settings.trainer))
    if device.type == "cpu" and mixed is torch.float16:
        raise UserError("trainer.precision=16-mixed: not on a CPU; set it to bf16-mixed or auto")
    network = found.network.to(device)
    network = network if mixed else network.prepared()  # what is prepared computes in float32

    def run_batch(clips: Tensor) -> Any:
        x = (clips.to(device, non_blocking=True).float() - found.mean) / (2 * found.std)
        cast = torch.autocast(device.type, mixed) if mixed else contextlib.nullcontext()
        with torch.inference_mode(), prefer(settings.trainer.attention), cast:
            return forward(network, x)

    return run_batch


@dataclass
class RunnerThere:
    """A `runner` that is made where it is first called, so that it can be sent to another machine, and its device."""

    found: networks.Loaded
    settings: PretrainSettings
    forward: Callable[[nn.Module, Tensor], Any]

    @cached_property
    def _run_batch(self) -> Callable[[Tensor], Any]:
        return runner(self.found, self.settings, self.forward)

    def __call__(self, clips: Tensor) -> Any:
        with _made_once:
            run_batch = self._run_batch
        return run_batch(clips)


@contextlib.contextmanager
def _cluster(settings: PretrainSettings) -> Iterator[Cluster]:
    """The Dask cluster that extracts.

    Raises:
        UserError: It is not there, fails, or is asked for by several processes.
    """
    if distributed.world_size() > 1:
        raise UserError("inference.scheduler: a cluster is asked by one process; leave the launcher out")
    try:
        with connected(settings.inference.scheduler, "inference.scheduler", __name__) as cluster:
            yield cluster
    except ClusterError as error:
        raise UserError(str(error)) from error


def extract_embeddings(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store CLS, DIST and the mean of the other tokens of one or several blocks, `[patches, 3, dim]` a track."""
    return _extract(settings, run, embeddings=True)


def extract_logits(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store the logits of every patch, `[patches, classes]` a track."""
    return _extract(settings, run, embeddings=False)


def _extract(settings: PretrainSettings, run: RunHandle, embeddings: bool) -> dict[str, float]:
    check_accelerator(settings.trainer)
    if settings.inference.random_weights and not embeddings:
        raise UserError("inference.random_weights: an untrained network has no classes; it is for extract_embeddings")
    networks.fetch_weights(settings, trained=True)
    source = open_source(settings.datamodule, labelled=_by_table(settings.datamodule))
    found = networks.load(settings, source.frontend)
    frames = window_frames(settings, found)
    hop = frames // 2 if settings.inference.half_overlapped_inference else frames
    depth = found.description["network"]["depth"]
    chosen = networks.blocks_of(settings, depth)
    blocks = sorted(set(chosen)) if embeddings else []
    if blocks and blocks[-1] >= depth:
        raise UserError(f"inference.transformer_block={chosen}: this network has the blocks 0 to {depth - 1}")
    producer = {
        "network": found.description["network"],
        "weights": found.weights,
        "frontend": source.frontend.fingerprint,
        "normalisation": [found.mean, found.std],
        "window_frames": frames,
        "hop_frames": hop,
    }
    outputs = _outputs(_folder(settings, source, producer), producer, blocks, found)
    if line := savings(found.network, frames, blocks[-1] if blocks else None):
        say(line)
    forward = partial(_tokens, blocks=blocks) if embeddings else networks.classify
    ids = _wanted(settings, source)
    if distributed.rank() == 0:
        for output in outputs:
            _make_way(output, source, ids, settings.inference.overwrite)
        _tell_of_gone(source, ids)
    distributed.barrier()
    what = (source.features, ids, frames, hop)
    if settings.inference.scheduler is None:
        report = extract(*what, runner(found, settings, forward), outputs, settings.inference.batch_size)
    else:
        with _cluster(settings) as cluster:
            run_batch = RunnerThere(found, settings, forward)
            report = extract(*what, run_batch, outputs, settings.inference.batch_size, cluster)
    if report.short:
        seconds = frames / source.frontend.frame_rate
        say(f"{report.short} tracks are shorter than nine tenths of a window ({seconds:.1f} s): padded with zeros")
    _tell(report, outputs, settings, embeddings)
    run.set_info(
        stores=[str(output.folder) for output in outputs], skipped=len(report.skipped), shorter_than_window=report.short
    )
    if report.skipped and not report.written and not report.already:
        identity, reason = report.skipped[0]
        raise UserError(f"none of {len(ids)} tracks could be stored; {identity}: {reason}")
    return {"written": report.written, "already": report.already, "skipped": len(report.skipped)}


def _tokens(network: nn.Module, x: Tensor, blocks: list[int]) -> dict[int, Tensor]:
    tokens = network.embed(x, [network.layer_names[block] for block in blocks])
    return {block: tokens[network.layer_names[block]] for block in blocks}


def _make_way(output: Output, source: DataSource, ids: Sequence[str], overwrite: bool) -> None:
    """Refuse, or remove where that is wanted, a store in the folder that was made otherwise or from other audio."""
    if not (output.folder / "header.json").is_file():
        return
    there = Store(output.folder)
    if there.header.fingerprint != output.header.fingerprint:
        what = "is of another network, block or window"
    elif other := made_of_other(there, source.features, ids):
        what = f"has {len(other)} tracks of the same name but other audio, for instance {other[0]!r}"
    else:
        return
    if not overwrite:
        raise UserError(
            f"the store {output.folder} {what}: "
            f"choose another inference.out_dir, or replace it with inference.overwrite=True"
        )
    shutil.rmtree(output.folder)


def _tell_of_gone(source: DataSource, ids: Sequence[str]) -> None:
    """Say how many tracks have features, but no audio any more; only where the features were made of a folder."""
    if source.features.path.resolve() == source.base_dir.resolve():
        return
    gone = [identity for identity in ids if not (source.base_dir / identity).exists()]
    if gone:
        say(
            f"{len(gone)} tracks are in the store {source.features.path}, but no longer in {source.base_dir}, "
            f"for instance {gone[0]!r}: extracted all the same; datamodule.store_dir=ANOTHER leaves them out"
        )


def window_frames(settings: PretrainSettings, found: networks.Loaded) -> int:
    """Length of a window: what the network was made for, or the shorter one that is asked for.

    Raises:
        UserError: The network takes no clip as long as that.
    """
    seconds = settings.datamodule.clip_length
    if seconds is None:
        return found.n_frames
    return found.check_frames(clip_frames(seconds, found.frontend))


def _wanted(settings: PretrainSettings, source: DataSource) -> list[str]:
    """Stored ids: the labelled ones where a table is given explicitly, else all."""
    datamodule = settings.datamodule
    if not _by_table(datamodule):
        return list(source.features.ids)
    _, stored = match(read_corpus(datamodule, source), source.features.ids, source.base_dir, datamodule.max_unmatched)
    return list(stored.values())


def _by_table(datamodule: DatamoduleSettings) -> bool:
    """Whether annotations say which tracks are wanted."""
    tables = ("groundtruth", "groundtruth_train", "groundtruth_val", "groundtruth_test")
    return any(getattr(datamodule, name) for name in tables)


def _folder(settings: PretrainSettings, source: DataSource, producer: dict[str, Any]) -> Path:
    if settings.inference.out_dir:
        return Path(settings.inference.out_dir).expanduser()
    made = fingerprint({**producer, "folder": str(source.base_dir.resolve())})
    return Path("outputs/embeddings") / f"{source.name}-{made[:8]}"


def _outputs(folder: Path, producer: dict[str, Any], blocks: list[int], found: networks.Loaded) -> list[Output]:
    if not blocks:
        shape = (found.n_classes,)
        meaning = {key: found.description[key] for key in ("task", "labels", "options") if key in found.description}
        made = {**producer, **meaning, "frame_rate": found.frontend.frame_rate}
        return [Output(folder / "logits", header("logits", shape, "logit", made), lambda logits: logits)]
    dim = found.description["network"]["dim"]
    return [
        Output(
            folder / f"block_{block:02d}",
            header("embeddings", (3, dim), "CLS, DIST, mean of the other tokens", {**producer, "block": block}),
            lambda tokens, block=block: tokens[block],
        )
        for block in blocks
    ]


def _tell(report: Report, outputs: list[Output], settings: PretrainSettings, embeddings: bool) -> None:
    written = pluralize(report.written, "track")
    say(f"{written} stored, {report.already} were there already, {len(report.skipped)} skipped")
    if report.skipped:
        say(f"skipped tracks and why: {outputs[0].folder / 'skipped.csv'}")
    for output in outputs:
        say(f"{output.header.kind}: {output.folder}")
    kind, system = ("embeddings.store", "ex_probe.py with") if embeddings else ("distillation.logits", STUDENT)
    folder = outputs[0].folder.parent if len(outputs) > 1 else outputs[0].folder
    store = shlex.quote(f"{kind}={folder}")
    say(f"next: python {system} {store}{spell(settings.datamodule)}")
