"""Shapes of the networks of the papers, by name; frames of MAEST are `floor(seconds * 62.5)`, of PaSST 100 a second."""

from __future__ import annotations

from typing import Any

from models.maest import MAEST

SHAPES: dict[str, dict[str, Any]] = {
    "maest_5s": {"n_frames": 312},
    "maest_10s": {"n_frames": 625},
    "maest_20s": {"n_frames": 1250},
    "maest_30s": {"n_frames": 1875},
    "maest_30s_519l": {"n_frames": 1875, "n_classes": 519},
    "passt_s": {"n_bands": 128, "n_frames": 998, "n_classes": 527},
    "passt_l": {"n_bands": 128, "n_frames": 998, "n_classes": 527, "depth": 7},
}


def build(name: str, **overrides: Any) -> MAEST:
    """A network of that shape with random weights."""
    return MAEST(**{**SHAPES[name], **overrides})
