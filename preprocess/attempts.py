"""A file to its tracks, or to the reason why there are none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from preprocess.files import Candidate
from preprocess.opening import MPEG_SUFFIXES
from preprocess.quiet import quiet_libraries
from preprocess.sources import AudioError
from preprocess.tracks import DecodedTrack

Decode = Callable[[Path], list[DecodedTrack]]  # raises AudioError where there is none


def attempt(file: Candidate, decode: Decode, main_process: int) -> tuple[Candidate, list[DecodedTrack] | str]:
    """Make the tracks of a file; no file ends the run.

    Args:
        file: What to decode.
        decode: Path of a file to its tracks; raises `AudioError` where there are none.
        main_process: Id of the process that asks; in another one, C libraries are kept quiet, and
            wherever an mp3 is decoded.

    Returns:
        The file, and its tracks or the reason why there is none.
    """
    if os.getpid() == main_process and file.path.suffix.lower() not in MPEG_SUFFIXES:  # the only decoder that prints
        return file, _outcome(file.path, decode)
    with quiet_libraries():
        return file, _outcome(file.path, decode)


def _outcome(path: Path, decode: Decode) -> list[DecodedTrack] | str:
    try:
        return decode(path)
    except AudioError as error:
        return error.reason
    except Exception as error:
        return f"failed with {type(error).__name__}: {error}"
