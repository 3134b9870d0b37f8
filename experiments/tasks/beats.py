"""Beats and downbeats: two curves over time, which a decoder turns into beats with their positions in the bar.

Three forms differ in what a network is trained against. `beats` has sharp targets and a loss that tolerates small
shifts (Foscarin, Schlüter and Widmer, "Beat this!", ISMIR 2024); `beats_widened` has targets of half a beat beside each
beat and plain cross-entropy (Böck and Davies, "Deconstruct, analyse, reconstruct", ISMIR 2020); `beats_classes` has
three classes, of which a softmax makes probabilities (Hung et al., "Modeling beats and downbeats with a time-frequency
transformer", ICASSP 2022).

Scores are means over tracks of mir_eval's metrics of `models.rhythm.scores`. The primary one is the mean of the
F-measures of beats and downbeats, that of beats alone where nobody annotated downbeats: beats are nearly solved in most
music, so that they alone would choose between networks by chance.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from datasets.beat_targets import BeatTargets
from datasets.beats import Beats
from datasets.targets import Targets
from datasets.time_grid import TimeGrid
from experiments.errors import UserError
from experiments.tasks.base import Task
from experiments.tasks.beat_scores import (
    KINDS,
    PANELS,
    PRIMARY,
    Table,
    means_over_tracks,
    resampled_tracks,
    score_decoded,
)
from experiments.tasks.checks import as_float32
from models.joining import side_by_side
from models.rhythm.decoded import Decoded

if TYPE_CHECKING:
    from torch import Tensor

    from models.prediction import Join
    from models.rhythm.decoding import Decoding

LONGEST_DELAY = 0.1  # seconds
USUAL_INTERVALS = (0.52, 1.89)  # seconds, of the corpora that most published networks are trained on
RANGE = 20  # BPM, of a kind of track


class BeatTracking(Task):
    """Beats and downbeats, by a loss that tolerates small shifts.

    Args:
        intervals: Seconds from beat to beat and from downbeat to downbeat, on average over a corpus (`measured`): what
            the few positives of a curve are weighted by.
        tolerance: Seconds by which a peak may miss the annotation at no cost.
        delay: Seconds by which a network puts its peaks too late, as the tolerance lets it; measured in validation.
        downbeats: Whether they are learned; if not, beats are found without positions in the bar.

    Attributes:
        decoding: How curves become beats; None: by their peaks.

    Raises:
        UserError: An argument is none that can be.
    """

    name = "beats"
    annotations = ("beats",)
    kind = "events"
    classes = KINDS
    primary = PRIMARY
    shown = (PRIMARY, *(f"{kind}_f1" for kind in KINDS))
    clip_level = False
    panels = PANELS
    widened = False
    decoding: Decoding | None = None

    def __init__(
        self,
        intervals: Sequence[float] = USUAL_INTERVALS,
        tolerance: float = 0.06,
        downbeats: bool = True,
        delay: float = 0.0,
    ) -> None:
        self.intervals, self.tolerance = tuple(map(float, intervals)), float(tolerance)
        self.downbeats = bool(downbeats)
        if len(self.intervals) != len(KINDS) or not all(0 < one < math.inf for one in self.intervals):
            raise UserError(f"{self.name}: intervals={list(intervals)}: expected two above 0, in seconds")
        if not 0 <= self.tolerance < math.inf:
            raise UserError(f"{self.name}: tolerance={tolerance}: expected seconds, 0 or more")
        if not abs(delay) <= LONGEST_DELAY:
            raise UserError(f"{self.name}: delay={delay}: expected seconds, at most {LONGEST_DELAY} either way")
        self.options: dict[str, Any] = {
            "intervals": list(self.intervals),
            "tolerance": self.tolerance,
            **_known_bars(self.downbeats),
        }
        self.set_delay(delay)

    def set_delay(self, delay: float) -> None:
        """Take beats to be so many seconds earlier than the curves say: `delay`."""
        self.delay = float(delay)
        known = {name: value for name, value in self.options.items() if name != "delay"}
        self.options = {**known, "delay": self.delay} if self.delay else known

    def measure_delay(self, predictions: Sequence[np.ndarray], references: Sequence[Beats]) -> None:
        """Set the delay to the median error of beats, whatever it was before; arguments as of `score`.

        Raises:
            UserError: No recording can be scored, or an activation is not finite.
        """
        undelayed = copy.copy(self)
        undelayed.delay = 0.0
        error = undelayed.score(predictions, references).get("beat_error", 0.0)
        self.set_delay(min(max(error, -LONGEST_DELAY), LONGEST_DELAY))

    @classmethod
    def measured(cls, annotations: Sequence[Beats]) -> dict[str, Any]:
        """Average intervals between beats and between downbeats, of tracks that have several; whether there are any
        downbeats."""
        found = [_average_interval([one.times for one in annotations if isinstance(one, Beats)])]
        found.append(_average_interval([one.downbeats for one in annotations if isinstance(one, Beats)]))
        intervals = [one or usual for one, usual in zip(found, USUAL_INTERVALS, strict=True)]
        return {"intervals": intervals, **_known_bars(_any_downbeats(annotations))}

    @property
    def unlearned(self) -> str:
        """Downbeats, where no track has any."""
        if self.downbeats:
            return ""
        return f"{self.name}: downbeats are not learned: no track for training has annotated positions in the bar"

    def decoded_by(self, decoding: Decoding) -> Self:
        """The same task with another decoder."""
        task = copy.copy(self)
        task.decoding = decoding
        return task

    def encode(self, annotation: Any) -> np.ndarray:
        """The times of annotated beats, seconds, float64 `[beats]`.

        Raises:
            UserError: They could not be read.
        """
        if not isinstance(annotation, Beats):
            raise UserError(f"{self.name}: {annotation!r:.60} cannot be read as beats")
        return annotation.times

    def targets(self, annotations: Sequence[Beats]) -> Targets:
        """Two curves a crop, any beat and downbeats; of whole tracks the annotated beats.

        Raises:
            UserError: Those of a track could not be read.
        """
        for one in annotations:
            self.encode(one)
        return BeatTargets(annotations, self._grid, self.widened)

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shift-tolerant, weighted cross-entropy of the two curves.

        Args:
            outputs: Logits `[batch, steps, 2]`.
            targets: `[batch, steps, 2]`, 0 to 1.
            mask: Likewise.
        """
        from models.losses.beats import shift_tolerant

        return shift_tolerant(outputs, targets, mask, self._weights(outputs), round(self.tolerance * self._grid.rate))

    def decode(self, outputs: Any) -> np.ndarray:
        """Logits `[..., steps, n_outputs]` to probabilities of any beat and of a downbeat, `[..., steps, 2]`."""
        from scipy.special import expit

        return expit(as_float32(outputs))

    def join(
        self,
        predictions: np.ndarray,
        starts: np.ndarray | None = None,
        how: str | None = None,
        frames: int | None = None,
    ) -> np.ndarray:
        """Lay windows `[windows, steps, 2]` side by side, to `[steps, 2]`; the earlier one counts where two overlap.

        Raises:
            UserError: Another way to join is wanted.
        """
        if how not in (None, self.usual_join):
            self.checked_join(how)
        grid, predictions = self._grid, np.asarray(predictions)
        if starts is None:
            starts = np.arange(len(predictions)) * predictions.shape[1] * grid.pool
        places = np.rint(np.asarray(starts, np.float64) / grid.pool).astype(np.int64)
        steps = None if frames is None else grid.steps(int(frames))
        return side_by_side(predictions, places, steps, math.ceil(grid.margin / grid.pool))

    def checked_join(self, how: str) -> Join:
        """None.

        Raises:
            UserError: Always: windows are not made one.
        """
        raise UserError(f"{self.name}: windows lie side by side, so that join={how} means nothing: leave it out")

    def events(self, activations: np.ndarray) -> Decoded:
        """The beats of a recording.

        Args:
            activations: Probabilities of any beat and of a downbeat, `[steps, 2]`.

        Raises:
            UserError: They are not finite.
        """
        return self.all_events([activations])[0]

    def all_events(self, predictions: Sequence[np.ndarray]) -> list[Decoded]:
        """`events` of several recordings, in threads side by side."""
        from models.rhythm.decoding import decode_all

        if not self.downbeats:
            predictions = [one[:, :1] for one in predictions]
        predictions = [self._evidence(one) for one in predictions]
        try:
            found = decode_all(predictions, self._grid.rate, self.decoding, offset=self._grid.offset - self.delay)
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from error
        return [replace(one, times=np.maximum(one.times, 0.0)) for one in found] if self.delay else found

    def score_tracks(self, predictions: Sequence[np.ndarray], references: Sequence[Beats]) -> Table:
        """Every metric of every recording, see `score_decoded`."""
        durations = [len(one) / self._grid.rate for one in predictions]
        return score_decoded(self.all_events(predictions), references, durations)

    def score(self, predictions: Sequence[np.ndarray], references: Sequence[Beats]) -> dict[str, float]:
        """Means over recordings, see `means_over_tracks`.

        Raises:
            UserError: No recording can be scored, or an activation is not finite.
        """
        means = means_over_tracks(self.score_tracks(predictions, references))
        if self.primary not in means:
            raise UserError(f"{self.name}: no track has annotated beats that can be scored")
        return means

    def score_resampled(
        self, predictions: Sequence[np.ndarray], references: Sequence[Beats], weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The metrics of `score` under weightings of the recordings, `[resamples]` each."""
        return resampled_tracks(self.score_tracks(predictions, references), weights)

    @staticmethod
    def strata(targets: np.ndarray) -> list[str]:
        """The range of the tempo of recordings, whose beats are rows `[recordings, beats]` of seconds."""
        if np.shape(targets)[-1] < 2:
            return ["no tempo"] * len(targets)
        tempi = 60 / np.median(np.diff(targets, axis=-1), axis=-1)
        return [f"{RANGE * number}-{RANGE * (number + 1)} BPM" for number in (tempi // RANGE).astype(int).tolist()]

    def _evidence(self, activations: np.ndarray) -> np.ndarray:
        """What the decoder takes of activations `[steps, 1 or 2]`: the bar model adds probabilities up, and needs them
        without the weight of the positives; peaks are compared with one half, for which that weight is made.

        These look as far ahead as the loss tolerates a shift, for `online` too: a little beside the network's margin.
        """
        if self.decoding is None or self.decoding.name == "peaks":
            return activations
        from models.rhythm.calibration import calibrated

        beat, bar = self.intervals
        share = beat / bar if beat < bar else None
        return calibrated(activations, self._positive_weights, round(self.tolerance * self._grid.rate), share)

    @property
    def _grid(self) -> TimeGrid:
        if self.grid is None:
            raise UserError(
                f"{self.name} is about what happens over time, and this network gives one output a window: choose a "
                "network for beats, such as spectnt_beats"
            )
        return self.grid

    def _weights(self, outputs: Tensor) -> Tensor:
        """What positives of the two curves count for, `[2]`, where the outputs are."""
        import torch

        return torch.tensor(self._positive_weights, dtype=torch.float32, device=outputs.device)

    @property
    def _positive_weights(self) -> list[float]:
        from models.rhythm.calibration import positive_weight

        return [positive_weight(one, self._grid.rate) for one in self.intervals]


class WidenedBeatTracking(BeatTracking):
    """Beats and downbeats against widened targets, which no weight and no tolerance goes with."""

    name = "beats_widened"
    widened = True

    def __init__(self, downbeats: bool = True) -> None:
        super().__init__(downbeats=downbeats)
        self.options = _known_bars(self.downbeats)

    @classmethod
    def measured(cls, annotations: Sequence[Beats]) -> dict[str, Any]:
        """Whether there are any downbeats."""
        return _known_bars(_any_downbeats(annotations))

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Cross-entropy of the two curves; arguments as in `BeatTracking`."""
        from models.losses.beats import shift_tolerant

        return shift_tolerant(outputs, targets, mask)

    def _evidence(self, activations: np.ndarray) -> np.ndarray:
        """The activations: nothing weighs them."""
        return activations


class BeatClasses(BeatTracking):
    """Beats, downbeats and neither as three classes of every step."""

    name = "beats_classes"
    classes = ("other beat", "downbeat", "no beat")

    def __init__(self, intervals: Sequence[float] = USUAL_INTERVALS, downbeats: bool = True) -> None:
        super().__init__(intervals, downbeats=downbeats)
        self.options = {"intervals": list(self.intervals), **_known_bars(self.downbeats)}

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weighted cross-entropy of logits `[batch, steps, 3]`; other arguments as in `BeatTracking`."""
        from models.losses.beats import class_entropy

        return class_entropy(outputs, targets, mask, self._weights(outputs))

    def decode(self, outputs: Any) -> np.ndarray:
        """Logits `[..., steps, 3]` to probabilities of any beat and of a downbeat, `[..., steps, 2]`."""
        from scipy.special import softmax

        classes = softmax(as_float32(outputs), axis=-1)
        any_beat = np.minimum(classes[..., 0] + classes[..., 1], 1)
        return np.stack([any_beat, classes[..., 1]], axis=-1)

    def _evidence(self, activations: np.ndarray) -> np.ndarray:
        """The activations, whose classes exclude each other as the states of the bar model do."""
        return activations


def _any_downbeats(annotations: Sequence[Beats]) -> bool:
    """Whether any track has downbeats, or none has beats, so that nothing is known."""
    with_beats = [one for one in annotations if isinstance(one, Beats) and len(one)]
    return not with_beats or any(len(one.downbeats) for one in with_beats)


def _known_bars(downbeats: bool) -> dict[str, bool]:
    """The option, which those that learn downbeats go without, as older checkpoints do."""
    return {} if downbeats else {"downbeats": False}


def _average_interval(times: Sequence[np.ndarray]) -> float | None:
    """Seconds from one to the next, over all recordings; None where none has two."""
    several = [one for one in times if len(one) > 1]
    return float(sum(one[-1] - one[0] for one in several) / sum(len(one) - 1 for one in several)) if several else None
