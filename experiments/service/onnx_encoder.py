"""An exported network as an encoder that onnxruntime computes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.described_encoder import DescribedEncoder
from experiments.errors import UserError
from experiments.export.facts import FrontEndFacts, NetworkFacts, read_facts
from experiments.service.folders import private_folder
from experiments.service.onnx_decoding import features_track
from models.onnx_sessions import FEATURES, INPUT, DividedFile, open_onnx
from preprocess.attempts import Decode
from preprocess.audio import exact_audio_track

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class OnnxEncoder(DescribedEncoder):
    """A network in an ONNX file.

    Attributes:
        network: What windows it takes, and what it gives.
        frontend: How audio becomes frames.
        description: See `Encoder`.
        weights: What those of the network are known by.
        session: Takes windows: of audio, or of features.
        decode_file: A file to the rows that windows are cut from.
        properties: Of the file.
        allowed: See `Encoder`.
    """

    network: NetworkFacts
    frontend: FrontEndFacts
    description: Mapping[str, Any]
    weights: str
    session: InferenceSession
    decode_file: Decode
    properties: Mapping[str, str]
    allowed: Collection[str] = frozenset()

    @property
    def window(self) -> int:
        """See `DescribedEncoder`."""
        return self.network.frames

    def frames_in(self, seconds: float) -> int:
        """See `DescribedEncoder`."""
        own = self.network.frames / self.frontend.frame_rate
        if abs(seconds - own) * self.frontend.frame_rate > 1:
            raise UserError(
                f"datamodule.clip_length={seconds:g} s: the file takes windows of {own:.3g} s; leave it out, or "
                "export the network with it"
            )
        return self.network.frames

    def logits(self, windows: np.ndarray) -> list[np.ndarray]:
        """Logits of windows `[windows, rows, ...]` as they are decoded."""
        return self._run(["logits"], windows)

    def embedding(self, layers: Sequence[str]) -> Callable[[np.ndarray], list[np.ndarray]]:
        """What makes tokens `[windows, tokens, dim]` of layers."""
        return partial(self._tokens, [self.network.layer_names.index(layer) for layer in layers])

    def _tokens(self, numbers: Sequence[int], windows: np.ndarray) -> list[np.ndarray]:
        if self.description["task"] is None:
            (tokens,) = self._run(["representation"], windows)
            return [tokens.reshape(len(windows), -1, tokens.shape[-1])]
        (embeddings,) = self._run(["embeddings"], windows)
        return [embeddings[:, number] for number in numbers]

    def _run(self, outputs: list[str], windows: np.ndarray) -> list[np.ndarray]:
        rows = np.asarray(windows, np.float32)
        if self.audio:
            return self.session.run(outputs, {INPUT: rows})
        given = {FEATURES: rows}
        if len(self.session.get_inputs()) > 1:  # of the audio the shape alone
            given[INPUT] = np.zeros((len(rows), rows.shape[1] * self.frontend.hop), np.float32)
        return self.session.run(outputs, given)


def open_encoder(path: Path, threads: int | None = None, allowed: Collection[str] = frozenset()) -> OnnxEncoder:
    """Open an exported network.

    Args:
        path: The file.
        threads: Of a run; None: `OMP_NUM_THREADS`, or one a core.
        allowed: See `Encoder`.

    Raises:
        UserError: A package is missing.
        CheckpointError: It cannot be read, or is no file of this project, or of another version.
    """
    _check_package("onnxruntime")
    usual = os.environ.get("OMP_NUM_THREADS", "")  # as PyTorch has it; onnxruntime takes no notice
    threads = threads or (int(usual) if usual.isdigit() else None)
    session, kept = open_onnx(path, threads), contextlib.ExitStack()
    properties = dict(session.get_modelmeta().custom_metadata_map)
    facts = read_facts(properties, str(path))
    decode: Decode = partial(exact_audio_track, facts.frontend.sample_rate)
    if facts.description.get("input") != "audio":
        _check_package("onnx")
        del session
        divided, files = DividedFile.read(path), []
        folder = kept.enter_context(private_folder())
        for number, part in enumerate(divided.front_end()):
            file = folder / f"{number}.onnx"
            file.write_bytes(part)
            files.append(str(file))
        local, settling = (*files, None)[:2]
        decode = partial(features_track, facts.frontend.model_dump_json(), local, settling)
        session = open_onnx(divided.network(facts.frontend.item_shape), threads)
    weights = properties.get("weights", "unknown")
    description = facts.description
    encoder = OnnxEncoder(facts.network, facts.frontend, description, weights, session, decode, properties, allowed)
    weakref.finalize(encoder, kept.close)  # what `decode` reads goes with the encoder
    return encoder


def _check_package(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise UserError(f"service.engine=onnx needs {name} for this file: pip install {name}")
