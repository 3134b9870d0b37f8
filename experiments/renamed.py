"""Settings that had another name before: a script that uses the old one goes on working, and is told the new one.

Fingerprints of runs are made of the names that keys had when they were new, so that a command finds its runs from
before a key was renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Old dotted key -> new dotted key, of every experiment that has the new one.
RENAMED: dict[str, str] = {
    "datamodule.max_left_out": "datamodule.max_unmatched",
    "embeddings.answers": "embeddings.predictions",
    "probe.tiles_dir": "probe.sweep_dir",
    "distillation.patch": "distillation.window",
}
# Names that the MAEST experiments have for a setting of ours.
FOREIGN: dict[str, str] = {
    "predict.transformer_block": "inference.transformer_block",
    "predict.out_dir": "inference.out_dir",
}


def today(key: str) -> str:
    """A dotted key by the name that it has today."""
    return _translated(key, {**RENAMED, **FOREIGN})


def former(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, flat by dotted key, by the names that their keys had when they were new."""
    return {_translated(key, {new: old for old, new in RENAMED.items()}): value for key, value in values.items()}


def _translated(key: str, table: Mapping[str, str]) -> str:
    """A key by the name that the table has for it, or for what it lies below."""
    known = next((name for name in table if key == name or key.startswith(f"{name}.")), None)
    return key if known is None else table[known] + key[len(known) :]
