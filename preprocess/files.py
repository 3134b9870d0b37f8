"""Which files of a folder are tracks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets.identity import FEATURE_SUFFIXES
from datasets.system_folders import is_system_folder, leads_above
from preprocess.sources import UNREADABLE, AudioError, UnreadableAudio

LIBSNDFILE = {
    ".wav",
    ".wave",
    ".bwf",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".mp2",
    ".mpga",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".snd",
    ".caf",
    ".w64",
    ".rf64",
}
FFMPEG = {
    ".m4a",
    ".mp4",
    ".m4b",
    ".m4r",
    ".3gp",
    ".aac",
    ".wma",
    ".mka",
    ".webm",
    ".weba",
    ".ac3",
    ".eac3",
    ".dts",
    ".ape",
    ".wv",
    ".mpc",
    ".tta",
    ".tak",
    ".dsf",
    ".dff",
    ".spx",
    ".amr",
    ".ra",
}
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


@dataclass
class AudioFiles:
    """What lies below a folder.

    Attributes:
        files: Audio, sorted by id.
        others: Number of files that are not audio, by suffix.
        unlisted: Folders that could not be listed, as ids with `/` at the end, and the reason; what is in them is
            not known.
        passed_over: Folders of the system, which were not looked into.
    """

    files: list[Candidate] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    unlisted: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)

    def gone(self, ids: Iterable[str]) -> set[str]:
        """Those of some tracks that are certainly not there any more."""
        return {id for id in set(ids) - {file.id for file in self.files} if not id.startswith(tuple(self.unlisted))}


def find(audio_dir: Path) -> AudioFiles:
    """Audio files below a folder, known by their suffix, and what else there is.

    Links are followed, but a folder that is reached in several ways is taken once, where it really lies if that is
    below `audio_dir`. Names that begin with a dot and folders of the system are passed over, and so is `song.beats`
    beside `song.flac`.

    Raises:
        AudioError: No such folder, one that cannot be listed, or no audio file in it.
    """
    _check_folder(audio_dir)
    found, seen, waiting, links = AudioFiles(), set(), [audio_dir], []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            with os.scandir(folder) as entries:
                listed = sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            if folder == audio_dir:
                raise UnreadableAudio.of(audio_dir, error) from error
            found.unlisted[f"{_id(audio_dir, folder)}/"] = f"folder {UNREADABLE}: {error.strerror or error}"
            continue
        files = []
        for entry in listed:
            if not _is_folder(entry):
                files.append(Path(entry.path))
            elif is_system_folder(entry.name):
                found.passed_over.append(_id(audio_dir, Path(entry.path)))
            elif not entry.is_symlink():
                waiting.append(Path(entry.path))
            elif not leads_above(Path(entry.path), audio_dir):
                links.append(Path(entry.path))
        _sort_out(audio_dir, files, found)
    if not found.files:
        raise AudioError(audio_dir, _nothing(found))
    found.files.sort(key=lambda one: one.id)
    found.passed_over.sort()
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False for a link whose target cannot be looked at: opening it will tell why."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _sort_out(audio_dir: Path, paths: Sequence[Path], found: AudioFiles) -> None:
    """Enter the files of one folder."""
    audio = [path for path in paths if path.suffix.lower() in SUFFIXES]
    tracks = {path.stem for path in audio}
    rest = [path for path in paths if path.suffix.lower() not in SUFFIXES and path.stem not in tracks]
    found.files += [_status(_id(audio_dir, path), path) for path in audio]
    found.others.update(path.suffix.lower() or path.name for path in rest)


def _nothing(found: AudioFiles) -> str:
    """Why there is no audio, as far as one can see."""
    rest = ", ".join(f"{count} {suffix}" for suffix, count in found.others.most_common(3))
    text = f"no audio file in this folder, only {rest}" if rest else "no audio file in this folder, nor any other"
    if found.unlisted:
        (name, reason), *others = found.unlisted.items()
        text += f"; {name} {reason}" + f", and {len(others)} more" * bool(others)
    if found.passed_over:
        text += f"; folders of the system are passed over: {', '.join(found.passed_over[:3])}"
    return f"{text}; known: {' '.join(sorted(SUFFIXES))}"


def choose(audio_dir: Path, ids: Sequence[str]) -> list[Candidate]:
    """The named tracks, each once, whether there are such files or not.

    Raises:
        AudioError: No such folder.
    """
    _check_folder(audio_dir)
    return [_status(storable(id), audio_dir / id) for id in dict.fromkeys(ids)]


def named(files: Mapping[str, Path]) -> list[Candidate]:
    """Tracks by id, wherever their files lie, whether there are such files or not."""
    return [_status(id, path) for id, path in files.items()]


def clip_id(recording: str, number: int) -> str:
    """The id of a clip of a recording."""
    return f"{recording}-{number}"


def storable(path: str | Path) -> str:
    """A path as text that can be stored: bytes that are not UTF-8 become `\\udcXX`."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _check_folder(audio_dir: Path) -> None:
    try:
        if not audio_dir.is_dir():
            what = "a file, not a folder" if audio_dir.exists() else "no such folder"
            raise AudioError(audio_dir, f"{what}: give the folder that holds the audio files")
    except OSError as error:
        raise UnreadableAudio.of(audio_dir, error) from error


def _id(audio_dir: Path, path: Path) -> str:
    return storable(path.relative_to(audio_dir).as_posix())


def _status(id: str, path: Path) -> Candidate:
    try:
        status = path.stat()
    except OSError:
        return Candidate(id, path)
    return Candidate(id, path, status.st_size, status.st_mtime_ns)


def holds_features(base: Path) -> bool:
    """Whether a folder is a store, or holds upstream's feature files and no audio, which may have a store beside it."""
    if (base / "header.json").is_file():
        return True
    found = False
    for path in base.rglob("*"):
        if path.suffix.lower() in SUFFIXES:
            return False
        found = found or path.suffix in FEATURE_SUFFIXES
    return found
