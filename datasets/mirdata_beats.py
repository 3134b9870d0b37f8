"""Beats of a data set that mirdata has a loader for (Bittner et al., ISMIR 2019); mirdata itself is not needed.

Where a loader fails, as some do on empty files or repeated beats, the file of beats is read without it; a track for
which this fails too is left out with the reason. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from datasets.beat_corpus import corpus_of
from datasets.beat_files import FoundBeats, ordered, read_beats
from datasets.corpus import Corpus
from datasets.identity import composed
from datasets.tables import CorpusError


class Loader(Protocol):
    """What is used of a data set of mirdata."""

    track_ids: Iterable[str]

    def track(self, track_id: str) -> Any:
        """A track, with `audio_path` and `beats` (`times`, `positions`)."""


def read_mirdata(name: str, data_home: Path) -> Corpus:
    """Read the beats of a data set in its folder.

    Args:
        name: Of its loader, such as `ballroom`.
        data_home: Where it was downloaded to; tracks are named by their audio below it.

    Raises:
        CorpusError: mirdata is not installed, has no such loader, or its loader does not work.
    """
    try:
        import mirdata
    except ImportError as error:
        raise CorpusError(
            f"mirdata:{name}: the package mirdata cannot be imported ({error}); pip install mirdata, or give the files "
            "of beats themselves, datamodule.groundtruth=FOLDER"
        ) from None
    try:
        loader = mirdata.initialize(name, data_home=str(data_home))
    except Exception as error:  # whatever a loader raises says that it does not work
        raise CorpusError(f"mirdata:{name}: {_said(error)}") from error
    return of_loader(name, loader, data_home)


def of_loader(name: str, loader: Loader, data_home: Path) -> Corpus:
    """The corpus of an initialised data set; as `read_mirdata`."""
    try:
        identities = list(loader.track_ids)
    except Exception as error:
        raise CorpusError(
            f"mirdata:{name}: its list of tracks cannot be had ({_said(error)}); has its index been downloaded? Else "
            "give the files of beats themselves, datamodule.groundtruth=FOLDER"
        ) from error
    found: dict[str, FoundBeats | str] = {}
    for identity in identities:
        key = composed(identity)
        try:
            track = loader.track(identity)
            key = _named(track, identity, data_home)
            found[key] = _beats(track)
        except Exception as error:
            found[key] = f"{identity}: {_said(error)}"
    return corpus_of(f"mirdata {name}", found)


def _beats(track: Any) -> FoundBeats:
    try:
        data = track.beats
    except Exception:
        if path := getattr(track, "beats_path", None):
            return read_beats(Path(path))
        raise
    if data is None:
        raise CorpusError("no beats")
    times = [float(time) for time in data.times]
    positions = getattr(data, "positions", None)
    known = [None] * len(times) if positions is None else [int(one) if one == one else None for one in positions]
    return ordered(zip(times, known, strict=True))


def _named(track: Any, identity: str, data_home: Path) -> str:
    """A track by the path of its audio below the data set; by its own id where it has none there."""
    audio = getattr(track, "audio_path", None)
    if audio and Path(audio).is_relative_to(data_home):
        return composed(Path(audio).relative_to(data_home).as_posix())
    return composed(identity)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]:.200}" if str(error) else type(error).__name__
