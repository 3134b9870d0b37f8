"""A process that decodes one file after the other, each within limits, for whoever holds the other end of a socket."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.service import packets
from experiments.service.calls import made
from preprocess.attempts import Decode, attempt
from preprocess.decode import at_most
from preprocess.ffmpeg import FfmpegKilled
from preprocess.files import Candidate
from preprocess.tracks import DecodedTrack

MB = 10**6
GROWN = 64 * MB  # resident memory that a decoder may keep from its files; one that keeps more is replaced
SPARE = 5  # seconds of processor time beyond those of the clock, which is the one that should strike
FIRST_TO_GO = 500  # oom_score_adj: where the machine has no memory left, a decoder is killed, not the service
LONGEST_REASON = 4000  # characters
FAULT = 70  # exit status where this code has failed, EX_SOFTWARE of sysexits.h


@dataclass(frozen=True)
class DecodingLimits:
    """What the decoding of a file may take.

    Attributes:
        seconds: Of audio.
        timeout: Seconds.
        megabytes: Of memory.
    """

    seconds: float
    timeout: float
    megabytes: int


class OutOfMemory(BaseException):
    """A file took more memory than it may; not one of the errors that are noted as what is wrong with a file."""


def work(connection: socket.socket, limits: DecodingLimits) -> None:
    """Answer requests until the other side is gone, or this process has grown."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    at_first = _own()
    packets.send(connection, {"ready": True})
    grown = False
    while not grown:
        try:
            request, _ = packets.receive(connection)
        except packets.Ended:
            return
        about, frames = _answer(Path(request["path"]), request["decode"], limits)
        kept = _own() - (frames.nbytes if frames else 0) - at_first
        grown = "exceeded" in about or kept > GROWN
        packets.send(connection, {**about, "last": grown}, frames)
        del frames


def _answer(path: Path, decode: str, limits: DecodingLimits) -> tuple[dict[str, Any], memoryview | None]:
    """The rows of a file and what is said of them, or why there are none."""
    try:
        tracks = partial(_tracks, made(decode))  # what it imports is not the file's
        with _limited(limits), at_most(limits.seconds, "service.max_seconds"):
            _, outcome = attempt(Candidate(path.name, path), tracks, os.getppid())
    except OutOfMemory:
        return {"exceeded": "memory"}, None
    if isinstance(outcome, str):
        return {"reason": anonymous(outcome, path)[:LONGEST_REASON]}, None
    track = outcome[0]
    frames = np.ascontiguousarray(track.frames)
    notes = [anonymous(note, path)[:LONGEST_REASON] for note in track.notes]
    about = {"seconds": track.seconds, "notes": notes, "type": frames.dtype.str, "shape": frames.shape}
    return about, memoryview(frames.reshape(-1).view(np.uint8))


def track_of(about: dict[str, Any], content: Any) -> DecodedTrack:
    """The track of such an answer.

    Raises:
        ValueError: It is none.
    """
    kind = np.dtype(about["type"])
    if kind.kind not in "fiu":
        raise ValueError(f"rows of type {kind}")
    frames = np.frombuffer(content if content is not None else b"", kind).reshape(about["shape"])
    seconds = float(about["seconds"])
    if not math.isfinite(seconds):
        raise ValueError(f"{seconds} seconds")
    return DecodedTrack(frames, seconds, tuple(map(str, about["notes"])))


def anonymous(text: str, path: Path) -> str:
    """A message without the place where the service keeps a file for a while."""
    for place in (f"file:{path.resolve()}", str(path.resolve()), str(path)):
        text = text.replace(place, "the file")
    return text


def _tracks(decode: Decode, path: Path) -> list[DecodedTrack]:
    """Decode, with an end of the memory told from other errors."""
    try:
        return decode(path)
    except MemoryError:
        raise OutOfMemory from None
    except FfmpegKilled:
        os.kill(os.getpid(), signal.SIGKILL)  # as if this process had been: the file is tried again
        raise
    except RuntimeError as error:
        if "allocate memory" in str(error):  # torch has no class of error for that
            raise OutOfMemory from None
        raise


@contextlib.contextmanager
def _limited(limits: DecodingLimits) -> Any:
    """Hold this process, and an ffmpeg that it starts, to the limits of a file.

    Memory is RLIMIT_DATA beyond what the process has now: it counts what is written privately, heap and anonymous
    mappings, while RLIMIT_AS also counts every library that is mapped, gigabytes with torch, and address space that
    allocators only reserve.
    """
    memory, seconds = limits.megabytes * MB, _processor_seconds() + limits.timeout + SPARE
    soft = {
        resource.RLIMIT_DATA: _data() + memory,
        resource.RLIMIT_FSIZE: memory,
        resource.RLIMIT_CPU: math.ceil(seconds),
    }
    before = {kind: resource.getrlimit(kind) for kind in soft}
    try:
        for kind, most in soft.items():
            hard = before[kind][1]
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        yield
    finally:
        for kind, both in before.items():
            resource.setrlimit(kind, both)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _pages(column: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()


def _own() -> int:
    """Resident memory that is no file's: libraries of which more and more is touched are no growth."""
    return _pages(1) - _pages(2)


def _data() -> int:
    return _pages(5)
