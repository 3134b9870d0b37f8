"""The forms in which a trained network leaves the house: how each is written, opened again and used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.encoder import Encoder
from experiments.export.facts import KEY
from experiments.export.recordings import facts_of
from experiments.settings import ExportSettings
from models.checkpoints import load_any, save_network
from models.errors import ExportError
from models.export import NAMES, REPRESENTATION, EncoderForm, ExportForm, representation, window_samples
from models.maest.huggingface import write_huggingface
from models.network import Network, main_head
from models.onnx_files import write_onnx
from models.onnx_sessions import INPUT, open_onnx
from models.programs import open_program, write_program

Outputs = dict[str, Tensor]  # logits `[B, classes]`, embeddings `[B, layers, tokens, dim]`, or representation


@dataclass(frozen=True)
class ExportJob:
    """What is to be written.

    Attributes:
        settings: Of the export.
        encoder: The network.
        layers: Whose embeddings the file gives, or is compared on.
        frames: Length of a window.
        about: What the file says of itself.
    """

    settings: ExportSettings
    encoder: Encoder
    layers: list[str]
    frames: int
    about: Mapping[str, Any]

    def form(self, fused: bool = False) -> ExportForm:
        """Front end and network as one module."""
        form = self.encoder.network.export_form(self.encoder.inputs, self.layers, self.frames, fused)
        return form if self.names == NAMES else EncoderForm(form, self.layers)

    @property
    def names(self) -> tuple[str, ...]:
        """What the file gives: of a network without outputs, the representation alone."""
        return NAMES if self.encoder.network.n_classes else REPRESENTATION

    @cached_property
    def samples(self) -> int:
        """Audio of a window, as a file for other programs takes it."""
        samples = window_samples(self.encoder.network, self.encoder.inputs, self.frames)
        hop = self.encoder.frontend.hop  # windows of any length are whole numbers of it
        return samples // hop * hop if self.settings.any_length else samples

    def properties(self) -> dict[str, str]:
        """What the file says of itself, as text: JSON but for what is text already."""
        described = [self.encoder.network.describe_layer(layer) for layer in self.layers]
        blocks = [one["block"] for one in described if "block" in one]
        about = {
            **self.about,
            "frontend": self.encoder.frontend.fingerprint,
            "clip_samples": self.samples,
            "layers": self.layers,
            **({"blocks": blocks} if blocks else {}),
        }
        return {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in about.items()
        }


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: Of its name; empty for a folder.
        write: Writes it, and returns what the user should know.
        run: Loads it again and runs it on audio.
        use: How to use it, one line with a place for the path.
        packages: What it needs.
    """

    suffix: str
    write: Callable[[Path, ExportJob], Sequence[str]]
    run: Callable[[Path, ExportJob, Tensor], Outputs]
    use: str
    packages: tuple[str, ...] = ()


def eager(job: ExportJob, audio: Tensor, network: Network | None = None) -> Outputs:
    """What the network of a job, or another, makes of audio `[B, samples]` by the way of `predict`."""
    encoder = job.encoder
    network = encoder.network if network is None else network
    inputs = encoder.fed(audio=True).inputs
    with torch.inference_mode():
        outputs, tokens = network.forward_and_embed(inputs(audio)[:, : job.frames], job.layers)
    embeddings = torch.stack([tokens[layer] for layer in job.layers], 1)
    both = dict(zip(NAMES, (main_head(outputs), embeddings), strict=True))
    return both if job.names == NAMES else {job.names[0]: representation(embeddings)}


def _write_onnx(path: Path, job: ExportJob) -> Sequence[str]:
    settings, encoder = job.settings, job.encoder
    properties, frontend = job.properties(), None if encoder.audio else encoder.frontend
    kinds = settings.int8, settings.any_length
    try:
        facts = facts_of(encoder, job.layers, job.frames, job.samples, settings.any_length)
        described = properties | {KEY: facts.model_dump_json()}
        write_onnx(path, job.form(fused=settings.int8), described, *kinds, frontend)
    except ExportError as error:
        write_onnx(path, job.form(fused=settings.int8), properties, *kinds)
        return (f"service.engine=onnx cannot serve this file: {error}",)
    return ()


def _run_onnx(path: Path, job: ExportJob, audio: Tensor) -> Outputs:
    outputs = open_onnx(path, torch.get_num_threads()).run(None, {INPUT: audio.numpy()})
    return dict(zip(job.names, map(torch.from_numpy, outputs), strict=True))


def _write_program(path: Path, job: ExportJob) -> Sequence[str]:
    write_program(path, job.form(), job.properties(), job.settings.any_length)
    return ()


def _run_program(path: Path, job: ExportJob, audio: Tensor) -> Outputs:
    with torch.inference_mode():
        return dict(zip(job.names, open_program(path)[0](audio), strict=True))


def _write_safetensors(path: Path, job: ExportJob) -> Sequence[str]:
    save_network(path, job.encoder.network, job.about, job.encoder.frontend)
    return ()


def _write_huggingface(path: Path, job: ExportJob) -> Sequence[str]:
    return write_huggingface(path, job.encoder.network, list(job.encoder.labels), job.about)


def _run_network(path: Path, job: ExportJob, audio: Tensor) -> Outputs:
    own = {type(job.encoder.network).__module__, type(job.encoder.frontend).__module__}
    network, _ = load_any(path, allowed=own)
    return eager(job, audio, network)


FORMATS: Mapping[str, Format] = {
    "onnx": Format(
        ".onnx",
        _write_onnx,
        _run_onnx,
        "{names} = onnxruntime.InferenceSession({path!r}).run(None, {{'audio': clips}})  # {shape} float32",
        ("onnx", "onnxscript", "onnxruntime"),
    ),
    "safetensors": Format(
        ".safetensors",
        _write_safetensors,
        _run_network,
        "network, about = models.checkpoints.load_any({path!r})  # or inference.checkpoint={path}",
    ),
    "huggingface": Format(
        "",
        _write_huggingface,
        _run_network,
        "transformers.ASTForAudioClassification.from_pretrained({path!r})  # or inference.checkpoint={path}",
    ),
    "torch_export": Format(
        ".pt2",
        _write_program,
        _run_program,
        "{names} = torch.export.load({path!r}).module()(clips)  # {shape} float32",
    ),
}
