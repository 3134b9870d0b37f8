"""What is known of a trained network: what its outputs mean, and how recordings are cut for it; nothing is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.time_grid import TimeGrid
from experiments.errors import UserError
from experiments.tasks import BeatTracking, Task, from_metadata
from experiments.tasks.checks import check_over_time
from experiments.windowing import Windowing, consecutive, margin, over_time, placed
from models.descriptions import DECODER
from models.selection import Selection, fitted, one_class
from models.thresholds import Thresholds

if TYPE_CHECKING:
    from models.frontends import FrontEnd
    from models.network import Network

UNNAMED = "maest"  # the class of stores and predictions that name none
NO_OUTPUTS = (
    "this network was trained without labels and predicts nothing by itself: take its embeddings "
    "(python ex_pretrain.py extract_embeddings), or train a head on it (python ex_transfer.py with "
    "clmr_linear model.checkpoint=FILE)"
)


class DescribedEncoder(ABC):
    """A network with its front end, its normalisation and its task, whatever computes it.

    Attributes:
        network: Or what is known of it, under the same names.
        frontend: The same.
        description: See `Encoder`.
        weights: Where they are from, in a form that two equal networks share.
        allowed: Modules outside of this project that its task may be imported from.
    """

    network: Network
    frontend: FrontEnd
    description: Mapping[str, Any]
    weights: str
    allowed: Collection[str]

    @property
    @abstractmethod
    def window(self) -> int:
        """Frames of the windows that it was made for."""

    @abstractmethod
    def frames_in(self, seconds: float) -> int:
        """Frames of a window of so many seconds.

        Raises:
            InputError, UserError: The network takes none as short, or as long, as that.
        """

    @cached_property
    def task(self) -> Task:
        """What its outputs mean.

        Raises:
            UserError: It has none; or they are over time, and the task is about whole recordings, or the reverse.
        """
        if self.description["task"] is None:
            raise UserError(NO_OUTPUTS)
        task = from_metadata(self.description["task"], self.labels, self.description.get("options"), self.allowed)
        check_over_time(self.network, task)
        task = task.on(self.grid) if self.network.over_time else task
        if self.decoder is None or not isinstance(task, BeatTracking):
            return task
        from models.rhythm.decoding import Decoding

        return task.decoded_by(Decoding(name=self.decoder))

    @property
    def decoder(self) -> str | None:
        """What makes beats of its outputs best, by the validation of its training; None where that is not known."""
        return self.description.get(DECODER)

    @property
    def grid(self) -> TimeGrid:
        """When a network over time gives its outputs."""
        return TimeGrid(self.frontend.frame_rate, self.network.pool, margin(self.network, self.frontend, self.audio))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self.description["labels"])

    @property
    def thresholds(self) -> Thresholds | None:
        """Fitted on validation for these weights; None where none were, as in published files."""
        entry = self.description.get("thresholds")
        return None if entry is None else Thresholds.of_entry(entry)

    @property
    def selection(self) -> Selection | None:
        """Which classes a prediction gives unless settings say otherwise; None where the task has none."""
        if self.task.kind in ("values", "events"):
            return None
        return fitted(self.thresholds, self.labels) if self.task.kind == "tags" else one_class()

    @property
    def mean(self) -> float:
        """Of un-normalised features over its training data."""
        return float(self.description["normalisation"][0])

    @property
    def std(self) -> float:
        """The same; the network sees `(x - mean) / (2 std)`."""
        return float(self.description["normalisation"][1])

    @property
    def input(self) -> str:
        """What windows are cut from: `features`, or `audio`, the front end being computed on each with the network."""
        return self.description.get("input", "features")

    @property
    def audio(self) -> bool:
        """Whether windows are cut from audio."""
        return self.input == "audio"

    @property
    def identity(self) -> dict[str, Any]:
        """What two encoders that compute the same share, besides their weights; as stores have it since the first."""
        of_class = {} if self.network.name == UNNAMED else {"class": self.network.name}
        from_audio = {"input": "audio"} if self.audio else {}
        return {
            "network": self.description["network"],
            **of_class,
            "frontend": self.frontend.fingerprint,
            "normalisation": list(self.description["normalisation"]),
            **from_audio,
        }

    def windowing(self, frames: int | None = None, hop_frames: float | None = None) -> Windowing:
        """How tracks are cut into windows of so many frames that follow each other.

        Args:
            frames: Of a window; None: what it was made for.
            hop_frames: From one window to the next; None: one begins where another ends.
        """
        return consecutive(self.network, self.frontend, self.audio, frames or self.window, hop_frames)

    def windowing_of(self, seconds: float | None = None, **places: Any) -> Windowing:
        """How tracks are cut into windows of so many seconds.

        Args:
            seconds: Length of a window; None: what it was made for.
            places: `windows`, `hop`, `overlapped`, `stored`, as of `experiments.windowing.placed`; none of them: as
                the network says (`coverage`).

        Raises:
            InputError: The network takes none as short, or as long, as that.
            UserError: Windows cannot lie so.
        """
        frames = self.window if seconds is None else self.frames_in(seconds)
        if self.network.over_time and not places.get("stored"):
            return over_time(self.network, self.frontend, self.audio, frames, **places)
        return placed(self.windowing(frames), self.network.coverage, **places)

    def layers(self, names: str | Sequence[str] | None = None) -> list[str]:
        """The layers of these names, each once, in the order of the network; None: its default.

        Raises:
            UserError: It has no such layer.
        """
        wanted = [self.network.default_layer] if names is None else [names] if isinstance(names, str) else list(names)
        if wrong := [name for name in wanted if name not in self.network.layer_names]:
            known = ", ".join(self.network.layer_names)
            raise UserError(f"layer {wrong[0]!r}: this network ({self.network.name}) has the layers {known}")
        return sorted(set(wanted), key=self.network.layer_names.index)

    def decode(
        self, logits: np.ndarray, starts: np.ndarray, join: str | None = None, rows: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logits of windows, which begin at the rows `starts`, to the predictions of the windows and of the track, of
        so many `rows`."""
        over_time = self.task.decode(logits)
        frames = starts / self.frontend.hop if self.audio else starts
        whole = self.frontend.n_frames(rows) if self.audio and rows else rows
        return over_time, self.task.join_outputs(logits, over_time, frames, join, whole)

    def unpadded(self, rows: int, windowing: Windowing) -> int | None:
        """Rows that the network takes of a track with less than nine tenths of a window; None: it is to be padded.

        Raises:
            UserError: It cannot see one as short as this.
        """
        frames = self.frontend.n_frames(rows) if self.audio else rows
        try:
            taken = self.network.unpadded(min(frames, windowing.frames))
        except ValueError as error:
            raise UserError(str(error)) from error
        return self.frontend.n_samples(taken) if taken and self.audio else taken

    def fill(self) -> float:
        """The value of silence in the rows of a track."""
        return 0.0 if self.audio else self.frontend.fill
