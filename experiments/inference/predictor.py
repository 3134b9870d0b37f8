"""What predicts audio, and what keeps its predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from datasets.windows import cut
from experiments.described_encoder import DescribedEncoder
from experiments.inference.rhythm import asked, tempi_of
from experiments.settings import DatamoduleSettings, InferenceSettings, PredictionSettings, RhythmSettings
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from experiments.windowing import Windowing
from models.fingerprint import fingerprint
from models.open_track import OpenTrack
from models.prediction import Prediction
from models.thresholds import Thresholds
from preprocess.files import Candidate

if TYPE_CHECKING:
    from torch import Tensor

RunBatch = Callable[["Tensor | np.ndarray"], list[np.ndarray]]  # windows to arrays `[windows, ...]`, one an output


@dataclass(frozen=True)
class Predictor:
    """What predicts audio.

    Attributes:
        encoder: The network.
        task: What the predictions mean.
        windowing: How audio is cut.
        run_batch: Windows as they are decoded to arrays `[windows, ...]`.
        predict: What `run_batch` gave for the windows of a file, `[windows, ...]`, their first rows, and the rows of
            the file, to the predictions of every window, `[windows, n_outputs]`, and of the file, `[n_outputs]`; of a
            task over time `[windows, steps, n_outputs]` and `[steps, n_outputs]`.
        producer: What the predictions are made with besides; plain values.
        padded: Whether a file that is much shorter than a window is always padded, as in an extraction.
        last_layer: Of the network; nothing runs after it. None: to the end.
        thresholds: Of a tagger, fitted for these weights.
        words: Of a command line that name the network, where thresholds can be fitted for it.
        tempi: The slowest and the fastest tempo that may be estimated, BPM; None: whatever the task knows.
    """

    encoder: DescribedEncoder
    task: Task
    windowing: Windowing
    run_batch: RunBatch
    predict: Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
    producer: Mapping[str, Any] = field(default_factory=dict)
    padded: bool = False
    last_layer: str | None = None
    thresholds: Thresholds | None = None
    words: Sequence[str] = ()
    tempi: tuple[float | None, float | None] = (None, None)

    @property
    def made(self) -> dict[str, Any]:
        """What predictions are made with, so that a folder holds those of one predictor alone; plain values."""
        about = self.encoder.description
        meaning = {key: about[key] for key in ("task", "labels", "options") if key in about}
        return {
            "weights": self.encoder.weights,
            "network": fingerprint({**self.encoder.identity, **meaning}),
            **self.windowing.record,
        }

    def opened(self, name: str, rows: np.ndarray) -> OpenTrack:
        """The windows of a file.

        Args:
            name: Of the file.
            rows: Features or samples.

        Raises:
            UserError: The network cannot see a file as short as this.
        """
        encoder, windowing = self.encoder, self.windowing
        unpadded = None if self.padded else encoder.unpadded(len(rows), windowing)
        return OpenTrack(name, *cut(rows, windowing.plan, encoder.fill(), unpadded), len(rows))

    def prediction(self, track: OpenTrack) -> Prediction:
        """What is predicted of a file whose windows are through `run_batch`.

        Raises:
            UserError: What the network gives for this file cannot be used.
        """
        task, windowing = self.task, self.windowing
        (outputs,) = (np.stack(values) for values in zip(*track.outputs, strict=True))
        over_time, whole = self.predict(outputs, track.starts, track.rows)
        if task.kind == "events":
            return Prediction.of_events(task.classes, self.encoder.grid.times(len(whole)), whole, task.events(whole))
        times, length = track.starts / windowing.rate, track.length / windowing.rate
        return Prediction(task.classes, task.kind, times, length, over_time, whole)


def predictor_of(
    encoder: DescribedEncoder,
    run_batch: RunBatch,
    inference: InferenceSettings,
    datamodule: DatamoduleSettings,
    rhythm: RhythmSettings,
    words: Sequence[str] = (),
    songs: int = 1,
) -> Predictor:
    """A network with its own head as what predicts audio, by the settings of `predict`.

    Args:
        encoder: The network.
        run_batch: Windows to its logits.
        inference: How windows lie and become one.
        datamodule: Their length, and the task that is asked for.
        rhythm: The decoder of beats, the range of tempi.
        words: See `Predictor`.
        songs: How many are predicted.

    Raises:
        UserError: What is set does not fit the network.
    """
    task, decoding = asked(encoder, datamodule.task, rhythm, songs)
    join = inference.join or task.usual_join
    # a join that does not fit is an error before the work
    if inference.join and not task.clip_level:
        task.checked_join(join)
    elif task.clip_level:
        one = np.ones((1, task.n_outputs))
        task.join_outputs(one, one, np.zeros(1), join)
    return Predictor(
        encoder,
        task,
        encoder.windowing_of(datamodule.clip_length, **inference.places),
        run_batch,
        partial(_decode, encoder, join),
        ({} if join == "mean" else {"join": join}) | decoding,
        thresholds=encoder.thresholds,
        words=words,
        tempi=tempi_of(task, rhythm),
    )


def _decode(
    encoder: DescribedEncoder, join: str, outputs: np.ndarray, starts: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """See `Predictor.predict`."""
    return encoder.decode(outputs, starts, join, rows)


class Keeper(Protocol):
    """What keeps the predictions of files.

    Attributes:
        folder: Where they are.
        done: Files that are through, by name, each with its stamp.
    """

    folder: Path
    done: Mapping[str, Any]

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def keep(self, file: Candidate, prediction: Prediction, stamp: Any) -> None:
        """Write what is predicted of a file; when this is over, the file is through."""

    def say_already(self, count: int) -> None:
        """Say what becomes of so many files that were predicted before, where it is not clear."""

    def leave(self, new: Sequence[str]) -> None:
        """Print what was predicted of the files of this call, and leave everything with the run."""


def folder_of(inference: PredictionSettings, run: RunHandle) -> Path:
    """Where predictions go."""
    return Path(inference.out_dir).expanduser() if inference.out_dir else run.directory
