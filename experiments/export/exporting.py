"""A trained network as a file for other programs, compared with the network before it is called done."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.progress import progress
from datasets.text import printable_lines
from experiments.checkpoint_files import checkpoint_file
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.export.cards import card
from experiments.export.formats import FORMATS, ExportJob, Format, eager
from experiments.messages import say
from experiments.networks.opening import block_layers, layers_of, open_encoder
from experiments.settings import ExportSettings, PretrainSettings
from experiments.tracking import RunHandle
from models.export import example
from models.maest.huggingface import is_folder

CLIPS = 2  # that a file is compared on
TOLERANCE = 1e-4  # of the largest value, at least of 1
DOUBTFUL = 0.1  # of the spread of the logits: an 8-bit file that differs more gets a warning


def export(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Write `inference.checkpoint` (or the release in `model.pretrained`) in `export.format`.

    The file is written aside, loaded again, run on two clips and compared with the network; only then does it get its
    name.

    Returns:
        `bytes`, and the largest differences of logits and embeddings.

    Raises:
        UserError: The file is there already or has another suffix, packages are missing, or the file differs.
        ExportError, CheckpointError: The network cannot be written in this form.
    """
    chosen = settings.export
    form = FORMATS[chosen.format]
    _check_packages(chosen.format, form)
    path = place(chosen, form, settings.inference.checkpoint, settings.model.pretrained)
    if settings.inference.random_weights:
        raise UserError("inference.random_weights: an untrained network is of no use elsewhere; give a checkpoint")
    encoder = open_encoder(settings)
    frames = encoder.windowing_of(settings.datamodule.clip_length).frames
    about = card(encoder, settings.inference.checkpoint, settings.model.pretrained)
    job = ExportJob(chosen, encoder, _layers(settings, encoder), frames, about)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.new{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with progress("exporting", 2, "steps") as advance:
            notes = form.write(aside, job)
            advance()
            result = compare(job, form, aside)
            advance()
        _put(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)
    result["bytes"] = sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
    run.set_info(export={"file": str(path), "format": chosen.format, "int8": chosen.int8, **result})
    _print_summary(job, form, path, result, notes)
    return result


def place(chosen: ExportSettings, form: Format, checkpoint: str | None, release: str | None) -> Path:
    """Where the file goes: `export.path`, else a name after the checkpoint, or the release.

    Raises:
        UserError: Another suffix than the format's, or something is there already.
    """
    if chosen.path:
        path = Path(chosen.path).expanduser()
    else:
        name = _name(checkpoint) if checkpoint else release or "network"
        path = Path("outputs/exports") / f"{name}{'-int8' if chosen.int8 else ''}{form.suffix}"
    if form.suffix and path.suffix != form.suffix:
        raise UserError(f"export.path={chosen.path}: a file of export.format={chosen.format} ends in {form.suffix}")
    if not path.exists():
        return path
    if path.is_dir() != (not form.suffix) or (path.is_dir() and any(path.iterdir()) and not is_folder(path)):
        expected = "a file" if form.suffix else "a folder with exported weights"
        raise UserError(f"export.path={path}: there is something else of that name, not {expected}; choose another")
    if not chosen.overwrite:
        raise UserError(
            f"{path} is there already: replace it with export.overwrite=True, or choose another export.path"
        )
    return path


def _name(checkpoint: str) -> str:
    file = checkpoint_file(checkpoint).resolve()
    return file.parent.parent.name if file.parent.name == "checkpoints" else file.stem


def _check_packages(name: str, form: Format) -> None:
    missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"export.format={name} needs {', '.join(missing)}: pip install -r requirements.txt "
            f"(or pip install {' '.join(missing)})"
        )


def _layers(settings: PretrainSettings, encoder: Encoder) -> list[str]:
    """The layers whose embeddings the file gives, in the order that is asked for."""
    chosen = settings.export
    if chosen.layers and chosen.blocks:
        raise UserError("export.layers and export.blocks: give one of them")
    if chosen.layers is None and chosen.blocks is None:
        return layers_of(settings.inference, encoder)
    layers = chosen.layers or block_layers(chosen.blocks, encoder, "export.blocks")
    encoder.layers(layers)
    if len(set(layers)) < len(layers):
        raise UserError(f"export.layers=[{','.join(layers)}]: name each once")
    return layers


def compare(job: ExportJob, form: Format, path: Path) -> dict[str, float]:
    """Largest differences between a file and the network on two clips, relative to the largest value (at least 1).

    Raises:
        UserError: They are too large, or not numbers.
    """
    audio = example(CLIPS, job.samples, job.encoder.frontend.sample_rate)
    expected, result = eager(job, audio), {}
    for name, theirs in form.run(path, job, audio).items():
        ours = expected[name]
        if name == "logits" and _other_logits(job):
            continue
        error = (theirs - ours).abs()
        result[f"{name}_difference"] = float(error.max() / ours.abs().max().clamp(min=1))
        if job.settings.int8:
            result[f"{name}_error"] = float(error.square().mean().sqrt() / ours.std())
        if not math.isfinite(result[f"{name}_difference"]):
            raise UserError(f"the exported network gives {name} that are not finite; the file is not kept")
        if result[f"{name}_difference"] > TOLERANCE and not job.settings.int8:
            raise UserError(
                f"the exported network differs by {result[f'{name}_difference']:.1e} in its {name}, "
                f"expected at most {TOLERANCE:g}; the file is not kept"
            )
    return result


def _other_logits(job: ExportJob) -> bool:
    """Whether the format has no logits of its own head, of which it then gives notice."""
    return job.settings.format == "huggingface" and not job.encoder.network.unused_heads()


def _put(aside: Path, path: Path) -> None:
    """Give what is written its name; in a folder file by file, the weights first."""
    if not aside.is_dir() or not path.is_dir():
        os.replace(aside, path)
        return
    for file in sorted(aside.iterdir(), key=lambda file: file.suffix == ".json"):
        os.replace(file, path / file.name)


def _print_summary(job: ExportJob, form: Format, path: Path, result: Mapping[str, float], notes: Sequence[str]) -> None:
    clip = f"[batch, {job.samples}]"
    differences = ", ".join(
        f"{key.removesuffix('_difference')} {value:.1e}" for key, value in result.items() if key.endswith("difference")
    )
    print(printable_lines(f"{path}: {result['bytes'] / 1e6:.1f} MB; licence: {job.about['licence']}"))
    print(f"loaded again and compared with the network, largest difference: {differences}")
    if "{shape}" in form.use:
        tokens = ", ".join(job.encoder.network.token_names)
        print(f"embeddings: of the layers {', '.join(job.layers)}; tokens: {tokens}")
    names = ", ".join(job.names) if len(job.names) > 1 else f"({job.names[0]},)"
    print(f"use: {form.use.format(path=str(path), shape=clip, names=names)}")
    if job.settings.int8:
        errors = {name: result[f"{name}_error"] for name in job.names}
        print(f"8 bits: off by {', '.join(f'{error:.1%} ({name})' for name, error in errors.items())} of their spread")
        if errors[job.names[0]] > DOUBTFUL:
            say("8 bits change this network much: see what it costs your task (python -m benchmarks.int8) before use")
    for note in notes:
        say(f"note: {note}")
