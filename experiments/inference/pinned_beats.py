"""Beats of a recording that its listener knows, which a decoder keeps to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.beat_files import read_beats
from experiments.errors import UserError
from experiments.settings import RhythmSettings

if TYPE_CHECKING:
    from models.rhythm.decoding import Decoding


def with_pinned(decoding: Decoding, rhythm: RhythmSettings) -> Decoding:
    """The decoder with the beats of the file `rhythm.pinned`; those of position 1 are downbeats.

    Raises:
        UserError: The decoder is `online`.
        CorpusError: The file is missing or cannot be read.
    """
    if rhythm.pinned is None:
        return decoding
    if decoding.name == "online":
        raise UserError(
            f"rhythm.pinned={rhythm.pinned}: the decoder online does not look ahead; use rhythm.decoder=dbn or peaks"
        )
    known = read_beats(Path(rhythm.pinned).expanduser()).beats
    return replace(decoding, pinned=tuple(known.times.tolist()), pinned_downbeats=tuple(known.downbeats.tolist()))
