"""What runs beside the main process: files to tracks in shards of the store, or to the reasons why there are none."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from datasets.audio_checksums import audio_checksum
from datasets.store import StoreError
from datasets.store_filling import Filler
from models.frontends import FrontEnd
from preprocess import compiled
from preprocess.attempts import attempt
from preprocess.files import Candidate, clip_id, storable
from preprocess.recipes import by_recipe
from preprocess.summaries import SUMMARIES


@dataclass(frozen=True)
class Work:
    """What is done with every file.

    Attributes:
        frontend: Name of a recipe (`preprocess.recipes.recipe`).
        max_seconds: Keep the middle of a longer track.
        clip_seconds: Cut files into clips of this length, each a track; None: a file is one track.
        filler: Takes the tracks.
        main_process: Id of the process that asks.
    """

    frontend: str | FrontEnd
    max_seconds: float | None
    clip_seconds: float | None
    filler: Filler
    main_process: int


@dataclass(frozen=True)
class Attempt:
    """What became of a file: seconds of audio in its tracks and notes on them, or the reason why there are none."""

    file: Candidate
    reason: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass
class Done:
    """What became of a group of files.

    Attributes:
        attempts: Of the files, up to a failure.
        rows: Of the store's index.
        failure: Why the store took no more; empty if all is well.
        host: Where it was done.
    """

    attempts: list[Attempt] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""
    host: str = field(default_factory=socket.gethostname)


def attempt_all(files: Sequence[Candidate], work: Work) -> Done:
    """Bring the tracks of some files to the store's disk; the index is left to the main process.

    Raises:
        AudioError: This machine cannot keep librosa's compiled functions.
    """
    if work.frontend in SUMMARIES:
        compiled.prepare(work.frontend)
    done = Done()
    decode = partial(by_recipe, work.frontend, max_seconds=work.max_seconds, clip_seconds=work.clip_seconds)
    try:
        with work.filler.open() as filling:
            try:
                for file in files:
                    _, outcome = attempt(file, decode, work.main_process)
                    if isinstance(outcome, str):
                        done.attempts.append(Attempt(file, outcome))
                        continue
                    checksum = audio_checksum(file.path)
                    for number, track in reversed(list(enumerate(outcome))):  # the first tells that all are there
                        id = file.id if work.clip_seconds is None else clip_id(file.id, number)
                        source = storable(file.path)
                        filling.append(id, track.frames, source, track.seconds, audio_checksum=checksum)
                    seconds = sum(track.seconds for track in outcome)
                    done.attempts.append(Attempt(file, "", seconds, outcome[0].notes))
            except StoreError as error:
                done.failure = str(error)
            done.rows = filling.finish()
    except StoreError as error:
        return Done(failure=done.failure or str(error))
    return done
