"""Audio files to stores: decode, mix to mono, resample, compute features, in parallel and resumable.

The ladder, each rung usable alone: `decode.load` (file -> samples), `features.track_features` (file -> log-mel),
`build_store` (folder -> store), `python -m preprocess` (the same from a shell).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preprocess.build import build_store
    from preprocess.build_report import BuildReport
    from preprocess.decode import AudioError, load

_HOMES = {"build_store": "build", "BuildReport": "build_report", "load": "decode", "AudioError": "decode"}
__all__ = ["AudioError", "BuildReport", "build_store", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that asking for help does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'preprocess' has no attribute {name!r}: it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f"preprocess.{_HOMES[name]}"), name)
