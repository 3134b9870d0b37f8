"""Audio files to features by the front end of an exported network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from experiments.export.facts import FrontEndFacts
from models.onnx_sessions import INPUT, open_onnx
from preprocess.pieces import in_pieces
from preprocess.tracks import FEWEST_FRAMES, DecodedTrack, whole_track

FACTS = "front_end.json"


@dataclass(frozen=True)
class OnnxFrontEnd:
    """A front end in files of its own.

    Attributes:
        files: See `models.onnx_sessions.DividedFile.front_end`.
        facts: How audio becomes frames.
    """

    files: tuple[Path, ...]
    facts: FrontEndFacts

    @classmethod
    @lru_cache(maxsize=64)
    def kept_in(cls, folder: str) -> OnnxFrontEnd:
        """The one that `keep` wrote."""
        files = tuple(sorted(Path(folder).glob("*.onnx")))
        return cls(files, FrontEndFacts.model_validate_json((Path(folder) / FACTS).read_text()))


def keep(folder: str, parts: Iterable[bytes], facts: FrontEndFacts) -> None:
    """Write a front end to a folder, where processes that decode find it."""
    (Path(folder) / FACTS).write_text(facts.model_dump_json())
    for number, part in enumerate(parts):
        (Path(folder) / f"{number}.onnx").write_bytes(part)


def features_track(folder: str, path: Path) -> list[DecodedTrack]:
    """Decode a file and compute its features, float16: those of `preprocess.features.track_features`.

    Args:
        folder: Of `keep`.
        path: Of the file.

    Raises:
        AudioError: See there.
    """
    frontend = OnnxFrontEnd.kept_in(folder)
    facts, encode = frontend.facts, partial(_features, frontend)
    return [whole_track(path, facts.sample_rate, FEWEST_FRAMES / facts.frame_rate, encode)]


def _features(frontend: OnnxFrontEnd, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    local, *settling = frontend.files
    facts = frontend.facts
    pieces = in_pieces(
        blocks,
        lambda samples: _run(local, samples),
        hop=facts.hop,
        context=facts.context,
        min_samples=facts.min_samples,
    )
    if settling:
        kept = list(pieces)
        pieces = iter([_run(settling[0], np.concatenate(kept))] if kept else [])
    return (piece.astype(np.float16) for piece in pieces)


def _run(file: Path, rows: np.ndarray) -> np.ndarray:
    """Of one recording, `[rows, ...]` to `[frames, ...]`."""
    return _session(file).run(None, {INPUT: rows[None]})[0][0]


@lru_cache(maxsize=64)
def _session(file: Path):  # a session, whose package is imported where it is opened
    return open_onnx(file, 1)
