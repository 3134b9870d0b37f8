"""A trained network as one object: audio in, predictions or embeddings out.

    encoder = Encoder.load("runs/KEY")              # or a file, a release, a folder in Hugging Face's layout
    prediction = encoder.predict(audio, rate)       # mono or [channels, samples], any rate and length
    prediction.best(3), prediction.over_time
    tokens = encoder.embed(audio, rate, ["block_06"])

What a network sees is made and normalised here alone, whether it comes from an array, a file or a store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.windows import cut
from experiments.described_encoder import UNNAMED, DescribedEncoder
from experiments.labels import output_names, thresholds_of
from experiments.tasks import Task
from experiments.trained_weights import open_trained
from experiments.windowing import Windowing
from models.descriptions import DECODER
from models.frontends import FrontEnd
from models.inputs import Inputs
from models.network import Network
from models.network_input import check_fit, checked_window, default_window, describe, own_frontend
from models.prediction import Prediction
from models.running import Forward, OpenTrack, Runner, Runtime, in_batches, logits_of, tokens_of
from preprocess.arrays import is_silent, rows_of
from preprocess.sources import AudioError

__all__ = ["UNNAMED", "Encoder", "Prediction"]


@dataclass(frozen=True)
class Encoder(DescribedEncoder):
    """A network with its front end, its normalisation and its task.

    Attributes:
        network: In evaluation mode.
        frontend: What makes its input of audio.
        description: What a checkpoint says of it: `class` and `network` (its arguments), `task`, `labels`,
            `options`, `frontend`, `normalisation` (mean and deviation of un-normalised features), `input`, `window`,
            `thresholds`.
        weights: Where they are from, in a form that two equal networks share.
        runtime: On what it runs.
        allowed: Modules outside of this project that its task may be imported from.
        published: Whether others trained it, as far as its file tells.
    """

    network: Network
    frontend: FrontEnd
    description: Mapping[str, Any]
    weights: str = "in memory"
    runtime: Runtime = field(default_factory=Runtime)
    allowed: Collection[str] = frozenset()
    published: bool = False

    @classmethod
    def load(
        cls,
        source: str,
        *,
        allowed: Collection[str] = frozenset(),
        labels: str | None = None,
        sha256: str | None = None,
        head: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **runtime: Any,
    ) -> Encoder:
        """Load a trained network.

        Args:
            source: A file, the folder of a run, a folder in Hugging Face's layout, or an address or the name of a
                release, which are downloaded once.
            allowed: Modules that classes outside of this project may be imported from.
            labels: Class names (see `experiments.labels.read_labels`), in place of those of the checkpoint.
            sha256: What the file must have, unless it is a release.
            head: A file or an address of a classifier, linear or with a hidden layer, for an encoder without one.
            arguments: Of the network, to be changed; such as patchout.
            runtime: Attributes of `Runtime`.

        Raises:
            UserError: There is no such checkpoint, or its parts do not fit together.
            CheckpointError: It cannot be had or read.
        """
        trained = open_trained(source, allowed, sha256, head, arguments or {})
        network, frontend, metadata = trained.network, trained.frontend, trained.metadata
        check_fit(network, frontend, metadata, trained.file)
        names = output_names(metadata.get("labels"), labels, network.n_classes)
        options = {"options": metadata["options"]} if "options" in metadata else {}
        task = metadata.get("task", "tagging") if network.n_classes else None
        meaning = {"task": task, **options, "labels": list(names)}
        about = (metadata.get(key) for key in ("normalisation", "input", "window"))
        description = describe(network, frontend, meaning, *about)
        if thresholds := thresholds_of(metadata, names, trained.file):
            description["thresholds"] = thresholds.entry
        if metadata.get(DECODER):
            description[DECODER] = metadata[DECODER]
        published = "run_fingerprint" not in metadata
        return cls(network, frontend, description, trained.name, Runtime(**runtime), frozenset(allowed), published)

    @classmethod
    def of(
        cls,
        network: Network,
        frontend: FrontEnd | None = None,
        task: Task | None = None,
        normalisation: Sequence[float] | None = None,
        input: str | None = None,
        window: int | None = None,
        weights: str = "in memory",
        **runtime: Any,
    ) -> Encoder:
        """Make one of a network in memory.

        Args:
            network: Trained or not.
            frontend: None: the one that it is made for.
            task: None: tags without names; of a network without outputs, none.
            normalisation: Mean and deviation; None: those of the front end.
            input: `features` or `audio`; None: the network's own.
            window: Frames; None: the network's own.
            weights: Where they are from.
            runtime: Attributes of `Runtime`.
        """
        frontend = frontend or own_frontend(network)
        names = output_names(None, None, network.n_classes)
        unnamed = {"task": "tagging" if names else None, "labels": list(names)}
        meaning = task.metadata if task else unnamed
        description = describe(network, frontend, meaning, normalisation, input, window)
        allowed = frozenset({type(task).__module__} if task else ())
        return cls(network.eval(), frontend, description, weights, Runtime(**runtime), allowed)

    @property
    def inputs(self) -> Inputs:
        """What makes the network's input of windows."""
        return Inputs(self.frontend, self.mean, self.std, self.audio)

    def fed(self, audio: bool) -> Encoder:
        """The same network, with windows cut from audio or from features."""
        return replace(self, description={**self.description, "input": "audio" if audio else "features"})

    @property
    def window(self) -> int:
        """Frames of the windows that it was made for."""
        return int(self.description.get("window") or default_window(self.network, self.frontend))

    def frames_in(self, seconds: float) -> int:
        """See `DescribedEncoder`."""
        return checked_window(self.network, self.frontend, seconds)

    def predict(
        self,
        audio: np.ndarray | Tensor,
        rate: int,
        *,
        seconds: float | None = None,
        windows: int | None = None,
        hop: float | None = None,
        overlapped: bool = False,
        join: str | None = None,
        batch_size: int = 16,
    ) -> Prediction:
        """Predict a recording from its windows.

        Args:
            audio: `[samples]` or `[channels, samples]`, float of full scale 1 or int16.
            rate: Hz.
            seconds: Of a window; None: what the network was made for.
            windows: So many, spread evenly from the beginning to the end, a single one at the centre.
            hop: Seconds from one window to the next; a last one is flush with the end.
            overlapped: Begin each window at half of the one before.
            join: How windows become one: `mean`, `median`, `max` or `vote` of predictions, or `mean_logits`; None: the
                usual way of the task.
            batch_size: Windows at once.

        Raises:
            AudioError: The audio is empty, not finite or far over full scale.
            InputError: The network takes no window of that length.
            UserError: The audio is too short for the network, more than one of `windows`, `hop` and `overlapped` is
                given, or this task has no such join.
        """
        windowing = self.windowing_of(seconds, windows=windows, hop=hop, overlapped=overlapped)
        track = self._opened(audio, rate, windowing, padded=False)
        (logits,) = self._outputs(track, None, batch_size)
        over_time, whole = self.decode(logits, track.starts, join, track.rows)
        times, length = track.starts / windowing.rate, track.length / windowing.rate
        if self.task.kind == "events":
            found = self.task.events(whole[:0] if is_silent(audio) else whole)  # a network may hear beats in nothing
            return Prediction.of_events(self.labels, self.grid.times(len(whole)), whole, found)
        return Prediction(self.labels, self.task.kind, times, length, over_time, whole, self.selection)

    def embed(
        self,
        audio: np.ndarray | Tensor,
        rate: int,
        layers: str | Sequence[str] | None = None,
        *,
        seconds: float | None = None,
        windows: int | None = None,
        hop: float | None = None,
        overlapped: bool = False,
        batch_size: int = 16,
    ) -> dict[str, np.ndarray]:
        """Tokens of layers, `[windows, tokens, dim]` float32 by name; arguments and errors as those of `predict`.

        Unless a number or a distance is given, windows are those of a store: consecutive, and a recording with less
        than nine tenths of one is centred in silence.
        """
        chosen, stored = self.layers(layers), windows is None and hop is None
        windowing = self.windowing_of(seconds, windows=windows, hop=hop, overlapped=overlapped, stored=stored)
        track = self._opened(audio, rate, windowing, padded=True)
        return dict(zip(chosen, self._outputs(track, tuple(chosen), batch_size), strict=True))

    def runner(self, forward: Forward, dtype: torch.dtype = torch.float32) -> Runner:
        """Windows `[windows, rows, ...]` as stored to arrays; see `Runner`."""
        return Runner(self.network, self.inputs, self.runtime, forward, dtype)

    def _opened(self, audio: np.ndarray | Tensor, rate: int, windowing: Windowing, padded: bool) -> OpenTrack:
        if isinstance(audio, str | PathLike):
            raise AudioError(str(audio), "give samples, not a path: audio, rate = soundfile.read(FILE), then audio.T")
        rows = rows_of(audio, rate, self.frontend, self.audio)
        unpadded = None if padded else self.unpadded(len(rows), windowing)
        return OpenTrack("", *cut(rows, windowing.plan, self.fill(), unpadded), len(rows))

    @cached_property
    def _runners(self) -> dict[tuple[str, ...] | None, Runner]:
        """Made ready once, for calls one after another."""
        return {}

    def _outputs(self, track: OpenTrack, layers: tuple[str, ...] | None, batch_size: int) -> list[np.ndarray]:
        """Tokens of layers, or logits, `[windows, ...]` each."""
        if layers not in self._runners:
            self._runners[layers] = self.runner(partial(tokens_of, layers=layers) if layers else logits_of)
        (done,) = in_batches([track], self._runners[layers], batch_size)
        return [np.stack(values) for values in zip(*done.outputs, strict=True)]
