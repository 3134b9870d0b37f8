"""How activations are decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.rhythm.bar_model import Lambdas

DECODERS = ("peaks", "dbn", "online")
SLOWEST = 5.0  # BPM: the memory that decoding takes grows with the longest interval
FIXED = 1.05  # a tempo that is given may be off, or change, by this factor


@dataclass(frozen=True)
class Decoding:
    """Options of all decoders; each reads its own.

    Attributes:
        name: `peaks`: where the activation has peaks. `dbn`: the likeliest path through bars, for the whole recording.
            `online`: the same model, forwards only: a beat depends on nothing that follows it.
        min_bpm: Slowest tempo.
        max_bpm: Fastest tempo.
        tempo: BPM where it is known: the tempo then stays within 5 % of it.
        n_tempi: At least so many tempi are told apart, equally spaced on a logarithmic axis, where the frames allow it;
            None: one for every number of frames.
        transition_lambda: The larger, the steadier the tempo; None: constant. Several: into the first beat of a bar,
            the second, and so on; the last one holds for the beats that are left.
        observation_lambda: A beat is heard in the first of so many parts of its interval.
        bars: Beats of a bar, and the log prior of such a piece: `{3: 0, 4: 0, 6: -10}`; or the numbers of beats alone,
            `[3, 4]`, which are then equally likely.
        metre_changes: Let the metre change within a piece: beats first, then bars of them (`dbn`).
        threshold: Frames before the first and after the last activation of this height are left out (`dbn`): nothing
            is found in silence.
        correct: A beat is where the activation is highest, among the frames in which it is heard (`dbn`). Otherwise it
            is the first of them.
        refine: Times between frames, by a parabola through the activation (`peaks`, and `dbn` with `correct`, which
            then also finds a peak one frame before or after these).
        alternatives: Decode at half and at double tempo, too, and say how likely that is (`dbn`).
        peak_threshold: A beat's activation is higher (`peaks`).
        downbeat_threshold: A downbeat's activation is higher (`peaks`).
        peak_window: Nothing within so many seconds is higher than a peak (`peaks`).
        min_interval: Least seconds between two beats (`peaks`); 0: no limit but that of the window.
        pinned: Times of known beats, seconds, which the decoder keeps to (`peaks`, `dbn`). `dbn` then tells all tempi
            apart that the frames allow.
        pinned_downbeats: Times of known downbeats, seconds, likewise.

    Raises:
        ValueError: A value is not as above.
    """

    name: str = "peaks"
    min_bpm: float = 40.0
    max_bpm: float = 215.0
    tempo: float | None = None
    n_tempi: int | None = 60
    transition_lambda: Lambdas = 100.0
    observation_lambda: float = 16.0
    bars: Mapping[int, float] | Sequence[int] = field(default_factory=lambda: {3: 0.0, 4: 0.0})
    metre_changes: bool = False
    threshold: float = 0.05
    correct: bool = True
    refine: bool = True
    alternatives: bool = True
    peak_threshold: float = 0.5
    downbeat_threshold: float = 0.5
    peak_window: float = 0.06
    min_interval: float = 60 / 300
    pinned: tuple[float, ...] = ()
    pinned_downbeats: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in DECODERS:
            raise ValueError(f"no decoder {self.name!r}: expected one of {', '.join(DECODERS)}")
        if not SLOWEST <= self.min_bpm <= self.max_bpm < math.inf:
            said = f"min_bpm {self.min_bpm:g}, max_bpm {self.max_bpm:g}"
            raise ValueError(f"{said}: expected {SLOWEST:g} <= min_bpm <= max_bpm")
        if self.tempo is not None and not SLOWEST <= self.tempo < math.inf:
            raise ValueError(f"tempo {self.tempo:g}: expected {SLOWEST:g} BPM or more")
        if self.n_tempi is not None and self.n_tempi < 1:
            raise ValueError(f"n_tempi {self.n_tempi}: expected at least 1, or None")
        lambdas = self.transition_lambda if isinstance(self.transition_lambda, Sequence) else [self.transition_lambda]
        if not lambdas or not all(one is None or 0 <= one < math.inf for one in lambdas):
            raise ValueError(f"transition_lambda {self.transition_lambda}: expected numbers from 0 on, or None")
        if not self.observation_lambda > 1:
            raise ValueError(f"observation_lambda {self.observation_lambda:g}: expected more than 1")
        if not isinstance(self.bars, Mapping):
            object.__setattr__(self, "bars", {int(beats): 0.0 for beats in self.bars})
        if not self.bars or any(beats < 1 or not prior < math.inf for beats, prior in self.bars.items()):
            raise ValueError(f"bars {dict(self.bars)}: expected numbers of beats, and the log prior of each")
        for name in ("threshold", "peak_threshold", "downbeat_threshold"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} {value:g}: expected 0 to 1")
        for name in ("peak_window", "min_interval"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} {value:g}: expected seconds from 0 on")

        if self.name == "online" and (len(self.pinned) or len(self.pinned_downbeats)):
            raise ValueError(
                "pinned beats with the decoder online, which knows nothing of what follows: use dbn or peaks"
            )

    @property
    def model(self) -> dict[str, Any]:
        """Arguments of `bar_model`."""
        slowest, fastest = self.min_bpm, self.max_bpm
        if self.tempo is not None:
            slowest, fastest = self.tempo / FIXED, self.tempo * FIXED
        return {
            "min_bpm": slowest,
            "max_bpm": fastest,
            "n_tempi": None if len(self.pinned) or len(self.pinned_downbeats) else self.n_tempi,
            "transition_lambda": self.transition_lambda,
            "observation_lambda": self.observation_lambda,
        }
