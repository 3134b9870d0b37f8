"""Folders of stores of embeddings, one a layer: `block_06` of a transformer, `layer7` or `layer_conv5` of others."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBERED = re.compile(r"(layer_)?(layer\d+)")  # `layer_layer7` is what `layer7` was called before


def folder_of(layer: int | str) -> str:
    """The folder of a layer: by number of a block, or by name."""
    if isinstance(layer, int):
        return f"block_{layer:02d}"
    return layer if _NUMBERED.fullmatch(layer) else f"layer_{layer}"


def layer_in(folder: str) -> int | str | None:
    """The layer that the name of a folder says; None where it says none."""
    if match := _NUMBERED.fullmatch(folder):
        return match[2]
    kind, _, name = folder.partition("_")
    if kind == "block":
        return int(name) if name.isascii() and name.isdecimal() else None
    return name or None if kind == "layer" else None


def as_stored(folder: Path) -> Path:
    """The folder of a layer's store, or the one under its other name, of today or of before, where only that exists."""
    match = _NUMBERED.fullmatch(folder.name)
    if match is None or (folder / "header.json").is_file():
        return folder
    other = folder.with_name(match[2] if match[1] else f"layer_{match[2]}")
    return other if (other / "header.json").is_file() else folder
