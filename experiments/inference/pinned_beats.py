"""Beats of a recording that its listener knows, which a decoder keeps to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.beat_files import read_beats
from experiments.settings import RhythmSettings

if TYPE_CHECKING:
    from models.rhythm.decoding import Decoding


def with_pinned(decoding: Decoding, rhythm: RhythmSettings) -> Decoding:
    """The decoder with the beats of the file `rhythm.pinned`; those of position 1 are downbeats.

    Raises:
        CorpusError: The file is missing or cannot be read.
    """
    if rhythm.pinned is None:
        return decoding
    known = read_beats(Path(rhythm.pinned).expanduser()).beats
    return replace(decoding, pinned=tuple(known.times.tolist()), pinned_downbeats=tuple(known.downbeats.tolist()))
