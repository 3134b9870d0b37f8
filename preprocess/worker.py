"""What runs beside the main process: one file at a time to features, or to the reason why there are none."""

from __future__ import annotations

import os
from functools import lru_cache

from models import frontends
from preprocess.features import Track, clip_features, track_features
from preprocess.files import Candidate
from preprocess.quiet import quiet_libraries
from preprocess.sources import AudioError
from preprocess.summaries import SUMMARIES, summary_clips, summary_track


def attempt(
    file: Candidate, frontend: str, max_seconds: float | None, clip_seconds: float | None, main_process: int
) -> tuple[Candidate, list[Track] | str]:
    """Compute the features of a file; no file ends the run.

    Args:
        file: What to decode.
        frontend: Name in `models.frontends.FRONTENDS` or in `preprocess.summaries.SUMMARIES`.
        max_seconds: Keep the middle of a longer track.
        clip_seconds: Cut the file into clips of this length, each a track; None: it is one track.
        main_process: Id of the process that asks; in another one, C libraries are kept quiet, and
            wherever an mp3 is decoded.

    Returns:
        The file, and its tracks or the reason why there is none.
    """
    if os.getpid() == main_process and file.path.suffix.lower() != ".mp3":  # the only decoder that remarks
        return file, _outcome(file, frontend, max_seconds, clip_seconds)
    with quiet_libraries():
        return file, _outcome(file, frontend, max_seconds, clip_seconds)


def _outcome(
    file: Candidate, frontend: str, max_seconds: float | None, clip_seconds: float | None
) -> list[Track] | str:
    try:
        if frontend in SUMMARIES and clip_seconds is not None:
            return summary_clips(file.path, frontend, clip_seconds)
        if frontend in SUMMARIES:
            return [summary_track(file.path, frontend, max_seconds)]
        if clip_seconds is not None:
            return clip_features(file.path, _front_end(frontend), clip_seconds)
        return [track_features(file.path, _front_end(frontend), max_seconds)]
    except AudioError as error:
        return error.reason
    except Exception as error:
        return f"failed with {type(error).__name__}: {error}"


@lru_cache(maxsize=4)
def _front_end(name: str) -> frontends.MusiCNNMel:
    return frontends.build(name)
