"""What audio is changed by, to see how much of its scores a network keeps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.settings.base import Positive, Section

Kinds = Annotated[list[Literal["time_stretch", "pitch", "compression", "noise"]], Field(min_length=1)]


class RobustnessSettings(Section):
    """Evaluation on changed audio, beside the same audio as it is."""

    perturbations: Kinds | Literal["all"] | None = None  # kinds of changes of models.perturbations; None: no such test
    resamples: Positive = 1000  # of the tracks, for the intervals of the differences
