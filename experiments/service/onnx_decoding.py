"""Audio files to features by the front end of an exported network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.export.facts import FrontEndFacts
from models.onnx_sessions import INPUT, open_onnx
from preprocess.pieces import in_pieces
from preprocess.tracks import FEWEST_FRAMES, DecodedTrack, whole_track

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def features_track(facts: str, local: str, settling: str | None, path: Path) -> list[DecodedTrack]:
    """Decode a file and compute its features, float16: those of `preprocess.features.track_features`.

    Args:
        facts: How audio becomes frames, a `FrontEndFacts` as JSON: other processes are sent plain values.
        local: The front end in a file of its own, see `models.onnx_sessions.DividedFile.front_end`.
        settling: Its second step, where it has one.
        path: Audio file.

    Raises:
        AudioError: See there.
    """
    known = _facts(facts)
    encode = partial(_features, known, local, settling)
    return [whole_track(path, known.sample_rate, FEWEST_FRAMES / known.frame_rate, encode)]


def _features(
    facts: FrontEndFacts, local: str, settling: str | None, blocks: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    pieces = in_pieces(
        blocks,
        lambda samples: _run(local, samples),
        hop=facts.hop,
        context=facts.context,
        min_samples=facts.min_samples,
    )
    if settling:
        kept = list(pieces)
        pieces = iter([_run(settling, np.concatenate(kept))] if kept else [])
    return (piece.astype(np.float16) for piece in pieces)


def _run(file: str, rows: np.ndarray) -> np.ndarray:
    """Of one recording, `[rows, ...]` to `[frames, ...]`."""
    return _session(file).run(None, {INPUT: rows[None]})[0][0]


_facts = lru_cache(maxsize=64)(FrontEndFacts.model_validate_json)


@lru_cache(maxsize=64)
def _session(file: str) -> InferenceSession:
    return open_onnx(file, 1)
