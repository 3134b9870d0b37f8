"""Audio files that are predicted: found, checked for changes since an earlier call, and decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from joblib import effective_n_jobs

from datasets.workers import mapped
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.named_paths import missing_audio
from preprocess.attempts import Decode, attempt
from preprocess.audio import exact_audio_track
from preprocess.files import Candidate, find, storable
from preprocess.quiet import quiet_libraries
from preprocess.recipes import by_recipe
from preprocess.tracks import DecodedTrack

AHEAD = 256  # files decoded ahead of the network at most


def audio_named(audio: str | None) -> list[Candidate]:
    """The file, or the audio files of the folder, that `inference.audio` names.

    Raises:
        UserError: It names nothing, or nothing that exists, or a folder without audio.
    """
    if audio is None:
        raise UserError("inference.audio is not set: name an audio file or a folder, inference.audio=song.mp3")
    path = Path(audio).expanduser()
    if path.is_dir():
        return find(path).files
    if why := missing_audio(audio):
        raise UserError(f"inference.audio={audio}: {why}")
    return [Candidate(path.name, path)]


def stamp(file: Candidate) -> list[int] | None:
    """Size and time of the last change; None where the file is gone, which whoever reads it will say."""
    try:
        about = file.path.stat()
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns]


def refuse_replaced(files: Sequence[Candidate], done: Mapping[str, Any], folder: Path) -> None:
    """Make sure that files are still what they were predicted as.

    Args:
        files: To be predicted.
        done: Files that were, each with its `stamp`; None where it was not kept.
        folder: Of their predictions.

    Raises:
        UserError: Some are not; names them.
    """
    known = ((file, done.get(storable(file.path))) for file in files)
    replaced = [storable(file.path) for file, then in known if then is not None and then != stamp(file)]
    if replaced:
        raise UserError(
            f"{len(replaced)} files were replaced since {folder} got predictions for them: "
            f"{', '.join(replaced[:3])}{', ...' if len(replaced) > 3 else ''}; predict all again with "
            "inference.overwrite=True, or choose another inference.out_dir"
        )


def decoder_of(encoder: Encoder) -> Decode:
    """What makes the rows of a file that an encoder cuts, features or samples, and raises `AudioError` where it cannot;
    it can be sent to another process."""
    frontend = encoder.frontend
    return partial(exact_audio_track, frontend.sample_rate) if encoder.audio else partial(by_recipe, frontend)


def decoded(
    files: Sequence[Candidate], encoder: Encoder, jobs: int
) -> Iterator[tuple[Candidate, list[DecodedTrack] | str]]:
    """Rows of files in their order: beside a GPU by other processes, on a CPU between two batches."""
    on_cpu = encoder.runtime.torch_device.type == "cpu"
    jobs = 1 if on_cpu else min(effective_n_jobs(jobs), len(files) // 4)
    return mapped(partial(_attempt_quietly, decode=decoder_of(encoder), main_process=os.getpid()), files, jobs, AHEAD)


def _attempt_quietly(file: Candidate, **how: Any) -> tuple[Candidate, list[DecodedTrack] | str]:
    with quiet_libraries():
        return attempt(file, **how)
