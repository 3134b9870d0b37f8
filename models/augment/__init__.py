"""Augmentations by name, and chains of them: what a training does to its batches on the device.

A chain is data, in order: `[{"name": "roll", "shift_range": 50}, {"name": "mixup", "alpha": 0.3}]`. Steps on waveforms
come before the front end, steps on features behind it; `mixup` mixes features and, with the same weights, targets.
`time_stretch` is drawn where crops are cut, so that their targets move along; here longer features are resampled.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.augment.features import mixup, mixup_draw, resample, roll, spec_augment
from models.augment.filters import high_low_pass
from models.augment.pitch import pitch
from models.augment.reverberation import reverb
from models.augment.rhythm import drop_bands, level, pitch_shift, shuffle_time
from models.augment.waveforms import delay, gain, noise, polarity

__all__ = ["FEATURES", "WAVEFORMS", "Chain", "Mix", "gain", "mixup", "mixup_draw", "noise", "pitch", "polarity"]
__all__ += ["resample", "roll", "spec_augment"]

Mix = tuple[Tensor, Tensor]  # of a mixup: partners and weights
Step = Callable[[Tensor], Tensor]


def stretch(low: float = 0.8, high: float = 1.25) -> tuple[float, float]:
    """Play every example at a speed drawn between these; above 1 is faster.

    Raises:
        ValueError: They are no speeds.
    """
    if not 0 < low <= high:
        raise ValueError(f"time_stretch: low={low} and high={high}: expected speeds above 0, such as 0.8 and 1.25")
    return low, high


WAVEFORMS: dict[str, Callable[..., Tensor]] = {
    "gain": gain,
    "polarity": polarity,
    "noise": noise,
    "high_low_pass": high_low_pass,
    "delay": delay,
    "pitch": pitch,
    "reverb": reverb,
}
FEATURES: dict[str, Callable[..., Any]] = {
    "roll": roll,
    "mixup": mixup_draw,
    "spec_augment": spec_augment,
    "pitch_shift": pitch_shift,
    "shuffle_time": shuffle_time,
    "drop_bands": drop_bands,
    "level": level,
    "time_stretch": stretch,
}
SUPPLIED = ("x", "batch", "device", "sample_rate")  # parameters that are no settings
SHARES = ("p", "share")  # parameters from 0 to 1
EXAMPLES = 32  # that a processor augments at a time; more do not fit into its cache


@dataclass(frozen=True)
class Chain:
    """Augmentations in order.

    Attributes:
        before: Names and functions of the steps on waveforms.
        after: Of those on features; that of `mixup` draws partners and weights.
        speeds: Bounds of `time_stretch`; None: there is none.
    """

    before: tuple[tuple[str, Step], ...] = ()
    after: tuple[tuple[str, Callable[..., Any]], ...] = ()
    speeds: tuple[float, float] | None = None

    @classmethod
    def build(cls, steps: Sequence[Mapping[str, Any]], audio: bool, sample_rate: int | None = None) -> Chain:
        """Make the chain of a list of steps.

        Args:
            steps: Each a `name`, and parameters that differ from the defaults.
            audio: Whether batches hold audio, so that there are waveforms.
            sample_rate: Of this audio, Hz: for the steps whose functions ask for it.

        Raises:
            ValueError: A name or parameter that does not exist, a value that cannot be one, `mixup` twice, a step on
                waveforms without audio or behind one on features, or one that needs a sample rate without it.
        """
        before: list[tuple[str, Step]] = []
        after: list[tuple[str, Callable[..., Any]]] = []
        speeds = None
        for given in steps:
            name, parameters = _checked(given)
            if name in WAVEFORMS and not audio:
                raise ValueError(f"{name} changes waveforms, and the input is stored features: take audio as input")
            if name in WAVEFORMS and after:
                raise ValueError(f"{name} changes waveforms: put it before {after[0][0]}, which changes features")
            if name == "mixup" and any(other == "mixup" for other, _ in after):
                raise ValueError("mixup: give it once")
            if name == "time_stretch":
                if after or speeds:
                    raise ValueError(
                        "time_stretch changes where beats are: put it first of the steps on features, once"
                    )
                speeds = stretch(**parameters)
                continue
            function = (WAVEFORMS | FEATURES)[name]
            if "sample_rate" in inspect.signature(function).parameters:
                if sample_rate is None:
                    raise ValueError(f"{name} needs the sample rate of the audio, which is not known here")
                parameters["sample_rate"] = sample_rate
            step = partial(function, **parameters)
            if name in WAVEFORMS:
                step(torch.zeros(0, 1))  # values that cannot be are refused before there is audio
            (before if name in WAVEFORMS else after).append((name, step))
        return cls(tuple(before), tuple(after), speeds)

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed, so that targets have to be."""
        return any(name == "mixup" for name, _ in self.after)

    def waveforms(self, x: Tensor) -> Tensor:
        """Audio `[batch, samples]`, float32, as it goes into the front end."""

        def augmented(part: Tensor) -> Tensor:
            for _, step in self.before:
                part = step(part)
            return part

        if len(x) <= EXAMPLES or not self.before or x.device.type != "cpu":
            return augmented(x)
        out = torch.empty_like(x)
        for part, place in zip(x.split(EXAMPLES), out.split(EXAMPLES), strict=True):
            place.copy_(augmented(part))
        return out

    def features(self, x: Tensor) -> tuple[Tensor, Mix | None]:
        """Normalised features `[batch, frames, *item_shape]` as they are trained on, and how they were mixed."""
        mix = None
        for name, step in self.after:
            if name == "mixup":
                mix = step(len(x), device=x.device)
                x = mixup(x, *mix)
            else:
                x = step(x)
        return x, mix


def _checked(step: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a step, if there is such a step."""
    given, table = dict(step), WAVEFORMS | FEATURES
    name = given.pop("name", None)
    if name not in table:
        raise ValueError(_unknown("augmentation", name, table))
    known = {
        key: parameter.default
        for key, parameter in inspect.signature(table[name]).parameters.items()
        if key not in SUPPLIED
    }
    for key, value in given.items():
        if key not in known:
            raise ValueError(_unknown(f"parameter of {name}", key, known))
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name}: {key}={value!r} is no number")
        if isinstance(known[key], int) and (value != int(value) or value < 0):
            raise ValueError(f"{name}: {key}={value}: expected a whole number, not below 0")
        if key in SHARES and not 0 <= value <= 1:
            raise ValueError(f"{name}: {key}={value}: expected a share from 0 to 1")
        if key == "alpha" and value <= 0:
            raise ValueError(f"mixup: alpha={value}: expected a number above 0; without mixup leave the step out")
    if missing := [key for key, default in known.items() if default is inspect.Parameter.empty and key not in given]:
        raise ValueError(f"{name}: {missing[0]} is needed")
    settled = known | given
    if "low" in known and settled["low"] > settled["high"]:
        raise ValueError(f"{name}: low={settled['low']} is above high={settled['high']}")
    return name, given


def _unknown(what: str, name: Any, valid: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(name), valid, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"unknown {what} {name!r}{hint} Valid: {', '.join(valid)}"
