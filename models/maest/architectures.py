"""The networks that have a name, as data.

Frames are those of the MusiCNN log-mel at 62.5 frames/s, `floor(seconds * 62.5)`; the PaSST networks
count theirs at 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.maest import MAEST


@dataclass(frozen=True)
class Architecture:
    """A named shape.

    Attributes:
        description: One line.
        seconds: Length of its clips.
        settings: Arguments of `MAEST`; what is not named keeps its default.
    """

    description: str
    seconds: float
    settings: Mapping[str, Any]


ARCHITECTURES: dict[str, Architecture] = {
    "maest_5s": Architecture("MAEST for 5-s clips", 5, {"n_frames": 312}),
    "maest_10s": Architecture("MAEST for 10-s clips", 10, {"n_frames": 625}),
    "maest_20s": Architecture("MAEST for 20-s clips", 20, {"n_frames": 1250}),
    "maest_30s": Architecture("MAEST for 30-s clips", 30, {"n_frames": 1875}),
    "maest_30s_519l": Architecture("MAEST for 30-s clips and 519 styles", 30, {"n_frames": 1875, "n_classes": 519}),
    "maest_30s_ts": Architecture(
        "MAEST for 30-s clips with two separate heads", 30, {"n_frames": 1875, "distilled_type": "separated"}
    ),
    "passt_s": Architecture(
        "PaSST-S: 128 bands, 10 s, stride 10", 10, {"n_bands": 128, "n_frames": 998, "n_classes": 527}
    ),
    "passt_l": Architecture(
        "PaSST-L: PaSST-S with 7 blocks", 10, {"n_bands": 128, "n_frames": 998, "n_classes": 527, "depth": 7}
    ),
}


def settings(name: str) -> dict[str, Any]:
    """Arguments of `MAEST` for a named architecture.

    Raises:
        ValueError: If there is no such name.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}")
    return dict(ARCHITECTURES[name].settings)


def build(name: str, **overrides: Any) -> MAEST:
    """Builds a named architecture with random weights; `overrides` are further arguments of `MAEST`."""
    return MAEST(**{**settings(name), **overrides})
