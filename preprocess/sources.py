"""An audio file opened for reading: by libsndfile (wav, flac, ogg, opus, mp3, aiff, ...), or else by ffmpeg."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

BLOCK = 32_768  # frames: a block of stereo float32 and what is made of it stay in the second-level cache
MISSING = "no such file"
NO_FFMPEG = "there is no ffmpeg on the PATH to try"
AU_HEADER = struct.Struct(">4s5I")  # Sun AU: magic, offset of the data, its bytes, encoding, sample rate, channels


class AudioError(ValueError):
    """Audio that cannot be used.

    Attributes:
        path: The file or folder.
        reason: Why, without the path; what stands before a colon names the kind of reason.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[AudioError], tuple[str | Path, str]]:
        return type(self), (self.path, self.reason)


@dataclass(frozen=True)
class Source:
    """What the header of an opened file says, and its samples.

    Attributes:
        sample_rate: Hz.
        channels: Number of channels.
        frames: How many the header promises; 0 where it does not say.
        blocks: Arrays [n, channels] float32, each valid until the next is asked for; may raise `AudioError`.
    """

    sample_rate: int
    channels: int
    frames: int
    blocks: Iterator[np.ndarray]


def open_source(path: Path) -> Source:
    """Open an audio file.

    Raises:
        AudioError: Missing, not a regular file, empty, or recognised neither by libsndfile nor by ffmpeg.
    """
    if not path.is_file():
        raise AudioError(path, "not a regular file" if path.exists() else MISSING)
    if not path.stat().st_size:
        raise AudioError(path, "empty file: 0 bytes")
    try:
        file = _ForwardFile(os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a headerless format, known by its suffix
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is None:
            raise AudioError(path, f"not audio, or damaged: libsndfile does not read it, and {NO_FFMPEG}") from error
        return _open_ffmpeg(ffmpeg, path)
    promised = file.frames if 0 < file.frames < 2**62 else 0
    return Source(file.samplerate, file.channels, promised, _soundfile_blocks(file, path))


class _ForwardFile(soundfile.SoundFile):
    """Read from front to back: a file that can seek is sent by soundfile to where it already is after every block."""

    def seekable(self) -> bool:
        return False


def _soundfile_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    buffer = np.empty((BLOCK, file.channels), np.float32)
    with file:
        try:
            while frames := file.buffer_read_into(buffer, "float32"):
                yield buffer[:frames]
        except soundfile.LibsndfileError as error:
            raise AudioError(path, f"damaged: {error.error_string.removeprefix('Error : ').rstrip('. ')}") from error


def _open_ffmpeg(ffmpeg: str, path: Path) -> Source:
    """First audio stream of a file as 32-bit floats, piped as Sun AU, whose header says all that is needed."""
    command = [ffmpeg, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path.resolve()}"]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    header = process.stdout.read(AU_HEADER.size)
    if len(header) < AU_HEADER.size:
        process.wait()
        raise AudioError(path, f"not audio, or damaged: {_complaint(errors)}")
    _, start, _, _, sample_rate, channels = AU_HEADER.unpack(header)
    process.stdout.read(start - AU_HEADER.size)
    return Source(sample_rate, channels, 0, _ffmpeg_blocks(process, channels, errors, path))


def _ffmpeg_blocks(process: subprocess.Popen, channels: int, errors: IO[bytes], path: Path) -> Iterator[np.ndarray]:
    frame = 4 * channels
    try:
        while data := process.stdout.read(BLOCK * frame):
            samples = np.frombuffer(data, ">f4", len(data) // frame * channels)
            yield samples.astype(np.float32).reshape(-1, channels)
        if process.wait():
            raise AudioError(path, f"damaged: {_complaint(errors)}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        errors.close()


def _complaint(errors: IO[bytes]) -> str:
    """Last line that ffmpeg wrote to its standard error."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f"ffmpeg says {lines[-1].strip()!r}" if lines else "ffmpeg finds no audio in it"
