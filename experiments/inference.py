"""A trained network over a corpus or over single files: embeddings, logits, ranked classes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets.store import Store
from experiments import networks
from experiments.data import clip_frames, match, open_source, read_corpus, say
from experiments.errors import UserError
from experiments.extraction import Output, Report, extract, header
from experiments.settings import PretrainSettings
from experiments.tracking.run import RunHandle
from experiments.training import precision
from models.fingerprint import fingerprint
from models.inference import prepare


def device_of(settings: PretrainSettings) -> torch.device:
    """Where inference runs: CUDA where there is one, unless the trainer's accelerator says otherwise."""
    wanted = settings.trainer.accelerator
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def runner(
    found: networks.Loaded, settings: PretrainSettings, forward: Callable[[nn.Module, Tensor], Any]
) -> Callable[[Tensor], Any]:
    """Wrap a network's function: stored clips `[windows, frames, bands]` in, whatever it gives out, no gradients."""
    device = device_of(settings)
    network = prepare(found.network.to(device))
    mixed = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision(settings.trainer))

    def run_batch(clips: Tensor) -> Any:
        x = (clips.to(device, non_blocking=True).float() - found.mean) / (2 * found.std)
        cast = torch.autocast(device.type, mixed) if mixed else contextlib.nullcontext()
        with torch.inference_mode(), cast:
            return forward(network, x.transpose(1, 2))

    return run_batch


def extract_embeddings(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store CLS, DIST and the mean of the other tokens of one or several blocks, `[patches, 3, dim]` a track."""
    return _extract(settings, run, embeddings=True)


def extract_logits(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store the logits of every patch, `[patches, classes]` a track."""
    return _extract(settings, run, embeddings=False)


def _extract(settings: PretrainSettings, run: RunHandle, embeddings: bool) -> dict[str, float]:
    source = open_source(settings.datamodule)
    found = networks.load(settings, source.frontend)
    frames = window_frames(settings, found)
    hop = frames // 2 if settings.inference.half_overlapped_inference else frames
    chosen = settings.inference.transformer_block
    blocks = sorted({chosen} if isinstance(chosen, int) else set(chosen)) if embeddings else []
    depth = found.description["network"]["depth"]
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
    folder = _folder(settings, source.name, producer)
    outputs = _outputs(folder, producer, blocks, found)
    run_batch = runner(found, settings, partial(_tokens, blocks=blocks) if embeddings else networks.classify)
    for output in outputs:
        _make_way(output, settings.inference.overwrite)
    ids = _wanted(settings, source)
    report = extract(source.features, ids, frames, hop, run_batch, outputs, settings.inference.batch_size)
    _tell(report, outputs, embeddings)
    run.set_info(stores=[str(output.folder) for output in outputs], skipped=len(report.skipped))
    return {"written": report.written, "already": report.already, "skipped": len(report.skipped)}


def _tokens(network: nn.Module, x: Tensor, blocks: list[int]) -> dict[int, Tensor]:
    return network.embed(x, blocks).tokens


def _make_way(output: Output, overwrite: bool) -> None:
    """Refuse, or remove where that is wanted, a store in the folder that was made otherwise."""
    if not (output.folder / "header.json").is_file():
        return
    if Store(output.folder).header.fingerprint == output.header.fingerprint:
        return
    if not overwrite:
        raise UserError(
            f"{output.folder} holds a store of another network, block or window: "
            f"choose another inference.out_dir, or replace it with inference.overwrite=True"
        )
    shutil.rmtree(output.folder)


def window_frames(settings: PretrainSettings, found: networks.Loaded) -> int:
    """Length of a window: what the network was made for, or the shorter one that is asked for.

    Raises:
        UserError: The network takes no clip as long as that.
    """
    seconds = settings.datamodule.clip_length
    if seconds is None:
        return found.n_frames
    return found.check_frames(clip_frames(seconds, found.frontend))


def _wanted(settings: PretrainSettings, source: Any) -> list[str]:
    """Stored ids: the labelled ones where a table is given explicitly, else all."""
    datamodule = settings.datamodule
    if not any((datamodule.groundtruth, datamodule.groundtruth_train, datamodule.groundtruth_test)):
        return list(source.features.ids)
    _, stored = match(read_corpus(datamodule, source), source.features.ids, source.base_dir)
    return list(stored.values())


def _folder(settings: PretrainSettings, name: str, producer: dict[str, Any]) -> Path:
    if settings.inference.out_dir:
        return Path(settings.inference.out_dir).expanduser()
    return Path("outputs/embeddings") / f"{name}-{fingerprint(producer)[:8]}"


def _outputs(folder: Path, producer: dict[str, Any], blocks: list[int], found: networks.Loaded) -> list[Output]:
    if not blocks:
        shape, made = (found.n_classes,), {**producer, "labels": list(found.labels)}
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


def _tell(report: Report, outputs: list[Output], embeddings: bool) -> None:
    say(f"{report.written} tracks stored, {report.already} were there already, {len(report.skipped)} skipped")
    if report.skipped:
        say(f"skipped tracks and why: {outputs[0].folder / 'skipped.csv'}")
    for output in outputs:
        say(f"{output.header.kind}: {output.folder}")
    if embeddings:
        say(f"next: python ex_probe.py with embeddings.store={outputs[0].folder}")
