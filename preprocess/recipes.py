"""What can be stored of audio files, by name: the features of a front end, the audio itself, or one row a track."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from datasets.store_format import Header
from models import frontends
from models.frontends import FrontEnd
from models.own_classes import module_of
from preprocess import audio, features
from preprocess.audio import audio_clips, audio_track, parse_audio_name
from preprocess.features import clip_features, track_features
from preprocess.summaries import SUMMARIES, summary_clips, summary_track
from preprocess.summaries import header as summary_header
from preprocess.tracks import DecodedTrack


@dataclass(frozen=True)
class Recipe:
    """How files become tracks of a store.

    Attributes:
        header: Of the store.
        track: A file, and how many seconds of its middle are kept (None: all), to its track.
        clips: A file, and the length of clips in seconds, to a track a clip.
    """

    header: Header
    track: Callable[[Path, float | None], DecodedTrack]
    clips: Callable[[Path, float], list[DecodedTrack]]


@lru_cache(maxsize=8)
def recipe(name: str | FrontEnd) -> Recipe:
    """Look a recipe up.

    Args:
        name: Of `models.frontends` or of `preprocess.summaries.SUMMARIES`, `audio_RATE` or `audio_RATE_float32`, or
            `package.module:Class`, which is imported; or the front end itself.

    Raises:
        ValueError: Unknown name; the message lists the known ones. Or the class cannot be imported or made, or is of a
            front end that is learned.
    """
    if isinstance(name, FrontEnd):
        return _of_frontend(name)
    if name in SUMMARIES:
        return Recipe(
            summary_header(name),
            lambda path, max_seconds: summary_track(path, name, max_seconds),
            lambda path, clip_seconds: summary_clips(path, name, clip_seconds),
        )
    if stored := parse_audio_name(name):
        rate, kind = stored
        return Recipe(
            audio.header(rate, kind),
            lambda path, max_seconds: audio_track(path, rate, max_seconds, kind),
            lambda path, clip_seconds: audio_clips(path, rate, clip_seconds, kind),
        )
    own = module_of(name)
    if own is None and name not in frontends.names():
        known = (
            f"{', '.join(frontends.names())}; audio_RATE for audio; for one row a track {', '.join(SUMMARIES)}; "
            f"a class of your own as package.module:Class"
        )
        raise ValueError(f"frontend={name!r}: known front ends are {known}")
    frontend = frontends.build(name, {own} if own else ())
    if any(True for _ in frontend.parameters()):
        raise ValueError(
            f"frontend={name!r} is learned with its network, so that its output is not stored: "
            f"store the audio, audio_{frontend.sample_rate}"
        )
    return _of_frontend(frontend)


def _of_frontend(frontend: FrontEnd) -> Recipe:
    return Recipe(
        features.header(frontend),
        lambda path, max_seconds: track_features(path, frontend, max_seconds),
        lambda path, clip_seconds: clip_features(path, frontend, clip_seconds),
    )


def by_recipe(
    frontend: str | FrontEnd, path: Path, max_seconds: float | None = None, clip_seconds: float | None = None
) -> list[DecodedTrack]:
    """The tracks of a file by `recipe`; errors as there, and `AudioError`.

    Args:
        frontend: Name of the recipe.
        path: Of the file.
        max_seconds: Keep the middle of a longer track.
        clip_seconds: Cut the file into clips of this length, each a track; None: it is one track.
    """
    if clip_seconds is not None:
        return recipe(frontend).clips(path, clip_seconds)
    return [recipe(frontend).track(path, max_seconds)]


def store_header(name: str | FrontEnd, max_seconds: float | None = None) -> Header:
    """What a store made by a recipe says of itself, and how much of long tracks is in it.

    Raises:
        ValueError: Unknown name.
    """
    made = recipe(name).header
    if max_seconds is None:
        return made
    return replace(made, producer={**(made.producer or {}), "max_seconds": max_seconds})
