"""Which files of a folder are tracks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.sources import AudioError

LIBSNDFILE = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".caf",
    ".w64",
    ".rf64",
}
FFMPEG = {".m4a", ".mp4", ".m4b", ".aac", ".wma", ".mka", ".webm", ".ac3", ".ape", ".wv", ".mpc", ".dsf"}
SUFFIXES = LIBSNDFILE | FFMPEG


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that should give a track.

    Attributes:
        id: Path below the folder of audio, with `/` and suffix; bytes of it that are not UTF-8 are written out. Or
            whatever a published corpus calls its recording.
        path: Of the file.
        bytes, mtime_ns: Size and time of its last change; -1 where there is no such file.
    """

    id: str
    path: Path
    bytes: int = -1
    mtime_ns: int = -1


def find(audio_dir: Path) -> tuple[list[Candidate], Counter[str]]:
    """Audio files below a folder, known by their suffix, and how many files of other suffixes lie there.

    Links are followed; names that begin with a dot are passed over, and so is `song.beats` beside `song.flac`.

    Raises:
        AudioError: No such folder, or no audio file in it.
    """
    _check_folder(audio_dir)
    found, others, seen = [], Counter(), set()
    for folder, folders, names in os.walk(audio_dir, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(folder)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        paths = [Path(folder, name) for name in names if not name.startswith(".")]
        audio = [path for path in paths if path.suffix.lower() in SUFFIXES]
        found += [_candidate(audio_dir, path.relative_to(audio_dir).as_posix()) for path in audio]
        tracks = {path.stem for path in audio}
        rest = [path for path in paths if path.suffix.lower() not in SUFFIXES and path.stem not in tracks]
        others.update(path.suffix.lower() or path.name for path in rest)
    if not found:
        what = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3)) or "nothing"
        raise AudioError(audio_dir, f"no audio file in this folder, only {what}; known: {' '.join(sorted(SUFFIXES))}")
    return sorted(found, key=lambda one: one.id), others


def choose(audio_dir: Path, ids: Sequence[str]) -> list[Candidate]:
    """The named tracks, each once, whether there are such files or not.

    Raises:
        AudioError: No such folder.
    """
    _check_folder(audio_dir)
    return [_candidate(audio_dir, id) for id in dict.fromkeys(ids)]


def named(files: Mapping[str, Path]) -> list[Candidate]:
    """Tracks by id, wherever their files lie, whether there are such files or not."""
    return [_status(id, path) for id, path in files.items()]


def clip_id(recording: str, number: int) -> str:
    """The id of a clip of a recording."""
    return f"{recording}-{number}"


def printable(path: str | Path) -> str:
    """A path as text that can be stored: bytes that are not UTF-8 become `\\udcXX`."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _check_folder(audio_dir: Path) -> None:
    if not audio_dir.is_dir():
        what = "a file, not a folder" if audio_dir.exists() else "no such folder"
        raise AudioError(audio_dir, f"{what}: give the folder that holds the audio files")


def _candidate(audio_dir: Path, name: str) -> Candidate:
    return _status(printable(name), audio_dir / name)


def _status(id: str, path: Path) -> Candidate:
    try:
        status = path.stat()
    except OSError:
        return Candidate(id, path)
    return Candidate(id, path, status.st_size, status.st_mtime_ns)
