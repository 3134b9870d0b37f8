"""What predictions of beats and of tempo have in common: what was asked for, and audio that has neither."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from experiments.described_encoder import DescribedEncoder
from experiments.errors import UserError
from experiments.inference.pinned_beats import with_pinned
from experiments.settings import RhythmSettings
from experiments.settings.rhythm import USUAL
from experiments.tasks import find
from experiments.tasks.base import Task
from experiments.tasks.beats import BeatTracking
from experiments.tasks.tempo import TempoTask, check_range
from models.fingerprint import fingerprint


def asked(encoder: DescribedEncoder, wanted: str, rhythm: RhythmSettings, songs: int) -> tuple[Task, dict[str, Any]]:
    """The task of a network with the decoder of the settings, and what predictions are thereby made with.

    Args:
        encoder: The network.
        wanted: Name of the task that is asked for, or `auto`.
        rhythm: The decoder.
        songs: How many are predicted.

    Raises:
        UserError: Beats are asked for and the network predicts something else; several decoders are given, or
            something that the one in use, or a task without beats, does not read; or beats are pinned in several songs.
        CorpusError: The file of pinned beats cannot be read.
    """
    task = encoder.task
    if wanted != "auto" and find(wanted).kind == "events" and task.kind != "events":
        raise UserError(
            f"{wanted} is asked for, and this network predicts {task.name}: give the inference.checkpoint of a network "
            "for beats"
        )
    if not isinstance(task, BeatTracking):
        read = ("min_bpm", "max_bpm") if isinstance(task, TempoTask) else ()
        rhythm.check_unread(f"predictions of the task {task.name}", read)
        tempi = tempi_of(task, rhythm)
        return task, {} if tempi == (None, None) else {"tempi": list(tempi)}
    decoders = rhythm.decoders((encoder.decoder or USUAL,))
    if len(decoders) > 1:
        raise UserError(f"rhythm.decoder={','.join(decoders)}: a prediction is made by one decoder; evaluate compares")
    rhythm.check_read(decoders)
    if rhythm.pinned and songs > 1:
        raise UserError(f"rhythm.pinned={rhythm.pinned} is for one recording, and inference.audio names {songs}")
    decoding = with_pinned(rhythm.decoding(decoders[0], alternatives=True), rhythm)
    return task.decoded_by(decoding), {"decoder": f"{decoding.name} {fingerprint(asdict(decoding))}"}


def tempi_of(task: Task, rhythm: RhythmSettings) -> tuple[float | None, float | None]:
    """The slowest and the fastest tempo that the settings allow a task about tempo, BPM; None: whatever it knows.

    Raises:
        UserError: None that it knows lies between them.
    """
    if not isinstance(task, TempoTask):
        return None, None
    check_range(task.name, rhythm.min_bpm, rhythm.max_bpm)
    return rhythm.min_bpm, rhythm.max_bpm
