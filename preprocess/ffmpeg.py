"""What libsndfile does not read (m4a, wma, ape, ...), decoded by ffmpeg, a program of its own.

ffmpeg knows a file by its content, whatever its suffix. Playlists, lists of pieces and the like make it open other
files, of this machine or from the network. So it may open containers alone that hold all of their audio themselves.
"""

from __future__ import annotations

import re
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from preprocess.sources import BLOCK, NO_FFMPEG, UNREADABLE, AudioError, AudioSource, UnreadableAudio

CONTAINERS = (
    "aac,ac3,adx,aea,aiff,amr,amrnb,amrwb,ape,aptx,aptx_hd,asf,ast,au,avi,bfstm,brstm,caf,cavsvideo,dsf,dts,dtshd,"
    "dv,eac3,flac,flv,gsm,gxf,h264,hca,hevc,iff,ivf,libgme,libopenmpt,loas,m4v,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mpegvideo,mxf,nistsphere,nut,ogg,oma,paf,qcp,rm,rso,shn,sln,sol,sox,spdif,tak,truehd,tta,voc,vqf,w64,"
    "wav,webm,wsd,wtv,wv,xa,xwma"
)
AU_HEADER = struct.Struct(">4s5I")  # Sun AU: magic, offset of the data, its bytes, encoding, sample rate, channels
DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
GUESSED = "Estimating duration from bitrate"
PICTURES = re.compile(r"Video: (?!.*\(attached pic\))")
OTHERS = re.compile(r"\[(\w+) @ .* not on whitelist")
COMPLAINT = re.compile(r".*\[(?:error|fatal|panic)\] (.*)")
# How much shorter than the container the audio of a whole file may be: padding of the codec; the rest of the film.
PADDING, FILM = (0.5, 0.01), (5.0, 0.1)  # seconds and share


class FfmpegKilled(UnreadableAudio):
    """It was ended from outside, as by a system without memory."""


@contextmanager
def open_ffmpeg(path: Path) -> Iterator[AudioSource]:
    """The first audio stream of a file as 32-bit floats, piped as Sun AU, whose header says all that is needed.

    ffmpeg is ended with the context, whether its samples were read or not.

    Raises:
        AudioError: There is no ffmpeg, it finds no audio, or was killed.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise AudioError(path, f"not audio, or damaged: libsndfile does not read it, and {NO_FFMPEG}")
    command = [ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "level+info", "-protocol_whitelist", "file,pipe"]
    command += ["-format_whitelist", CONTAINERS, "-i", f"file:{path.resolve()}", "-map", "0:a:0"]
    command += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages)
        try:
            yield _source(process, messages, path)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _source(process: subprocess.Popen, messages: IO[bytes], path: Path) -> AudioSource:
    header = process.stdout.read(AU_HEADER.size)
    if len(header) < AU_HEADER.size:
        _wait(process, path)
        raise AudioError(path, f"not audio, or damaged: {_complaint(messages, path)}")
    _, start, _, _, sample_rate, channels = AU_HEADER.unpack(header)
    process.stdout.read(start - AU_HEADER.size)
    seconds, slack = _promise(_text(messages))
    return AudioSource(
        sample_rate,
        channels,
        _blocks(process, channels, messages, path),
        round(seconds * sample_rate),
        round(slack * sample_rate),
    )


def _promise(messages: str) -> tuple[float, float]:
    """Seconds that the container promises (0 where it does not), and how many less a whole file may have."""
    found = DURATION.search(messages)
    if not found or GUESSED in messages:
        return 0.0, 0.0
    hours, minutes, seconds = map(float, found.groups())
    seconds += 60 * (minutes + 60 * hours)
    least, share = FILM if PICTURES.search(messages) else PADDING
    return seconds, max(least, share * seconds)


def _blocks(process: subprocess.Popen, channels: int, messages: IO[bytes], path: Path) -> Iterator[np.ndarray]:
    frame = 4 * channels
    while data := process.stdout.read(BLOCK * frame):
        samples = np.frombuffer(data, ">f4", len(data) // frame * channels)
        yield samples.astype(np.float32).reshape(-1, channels)
    if _wait(process, path):
        raise AudioError(path, f"damaged: {_complaint(messages, path)}")


def _wait(process: subprocess.Popen, path: Path) -> int:
    """The exit status of ffmpeg.

    Raises:
        FfmpegKilled: What it was, which is no fault of the file.
    """
    status = process.wait()
    if status == -signal.SIGKILL:
        raise FfmpegKilled(path, f"{UNREADABLE}: ffmpeg was killed while it decoded it")
    return status


def _complaint(messages: IO[bytes], path: Path) -> str:
    """The last error that ffmpeg wrote, or else its last line, without the path, which the reader knows."""
    text = _text(messages)
    if found := OTHERS.search(text):
        return f"ffmpeg takes it for {found[1]}, which holds no audio itself or names other files"
    lines = text.strip().splitlines()
    errors = [found[1] for line in lines if (found := COMPLAINT.fullmatch(line))]
    if not lines:
        return "ffmpeg finds no audio in it"
    return f"ffmpeg says {(errors or lines)[-1].strip().removeprefix(f'file:{path.resolve()}: ')!r}"


def _text(messages: IO[bytes]) -> str:
    """What ffmpeg wrote so far; where it goes on writing does not change."""
    size = messages.seek(0, 2)
    messages.seek(0)
    return messages.read(size).decode(errors="replace")
