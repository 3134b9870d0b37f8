"""What decoders are asked to do in tests, instead of decoding; each takes the path of a file."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path

import numpy as np

from preprocess.ffmpeg import FfmpegKilled
from preprocess.sources import AudioError
from preprocess.tracks import DecodedTrack


def track(*values: float) -> list[DecodedTrack]:
    return [DecodedTrack(np.array(values, np.float32), 1.0)]


def number(path: Path) -> list[DecodedTrack]:
    """The number in the file, a thousand times."""
    return track(*[float(path.read_text())] * 1000)


def slow(path: Path) -> list[DecodedTrack]:
    """As `number`, when the file of that name with .go is there; its process id is left beside it."""
    with path.with_suffix(".pid").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not path.with_suffix(".go").exists():
        threading.Event().wait(0.01)
    return number(path)


def with_a_program(path: Path) -> list[DecodedTrack]:
    """Starts another program, as for a format that ffmpeg reads, and waits for it."""
    with subprocess.Popen(["sleep", "600"]) as program:
        path.with_suffix(".pid").write_text(f"{os.getpid()}\n{program.pid}\n")
    return number(path)


def first_without_ffmpeg(path: Path) -> list[DecodedTrack]:
    """As `number`, but the first time ffmpeg is killed."""
    if not path.with_suffix(".pid").exists():
        path.with_suffix(".pid").touch()
        raise FfmpegKilled(path, "killed")
    return number(path)


def crashing(path: Path) -> list[DecodedTrack]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return number(path)


def leaving(path: Path) -> list[DecodedTrack]:
    os._exit(3)
    return number(path)


def out_of_time(path: Path) -> list[DecodedTrack]:
    """Stopped as the system does where processor time has run out."""
    os.kill(os.getpid(), signal.SIGXCPU)
    return number(path)


def hungry(path: Path) -> list[DecodedTrack]:
    """As many MB as the file says."""
    return track(float(np.ones(int(path.read_text()) * 10**6 // 8).sum() > 0))


def hungry_tensor(path: Path) -> list[DecodedTrack]:
    """The same in torch."""
    import torch

    return track(float(torch.ones(int(path.read_text()) * 10**6 // 4).sum() > 0))


def hungry_program(path: Path) -> list[DecodedTrack]:
    """The same in another program."""
    code = f"len(bytearray({path.read_text()} * 10**6))"
    done = subprocess.run(["python3", "-c", code], stderr=subprocess.DEVNULL, check=False)
    return track(float(done.returncode))


def writing(path: Path) -> list[DecodedTrack]:
    """As many MB as the file says, into another file."""
    with path.with_suffix(".written").open("wb") as file:
        file.truncate(int(path.read_text()) * 10**6)
    return track(0.0)


def limits(path: Path) -> list[DecodedTrack]:
    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)
    return track(*(resource.getrlimit(kind)[0] for kind in kinds))


def process(path: Path) -> list[DecodedTrack]:
    """Its id, its parent's, the number of its threads and of its open files."""
    threads, files = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    return track(os.getpid(), os.getppid(), threads, files)


def long(path: Path) -> list[DecodedTrack]:
    """Rows of as many MB as the file says."""
    return [DecodedTrack(np.arange(int(path.read_text()) * 10**6 // 4, dtype=np.float32), 1.0)]


def answering(path: Path) -> list[DecodedTrack]:
    """Sends the text in the file as its answer, with memory that can still change, as a taken-over decoder might."""
    memory = os.memfd_create("x")
    os.write(memory, b"abcd")
    for file in map(int, os.listdir("/proc/self/fd")[:-1]):
        if stat.S_ISSOCK(os.fstat(file).st_mode):
            connection = socket.socket(fileno=file)
            if connection.type == socket.SOCK_SEQPACKET:
                socket.send_fds(connection, [path.read_bytes()], [memory])
            connection.detach()
    return track(1.0)


def failing(path: Path) -> list[DecodedTrack]:
    raise OSError(f"{path} has no music")


def refusing(path: Path) -> list[DecodedTrack]:
    raise AudioError(path, f"damaged: ffmpeg says 'file:{path.resolve()}: no music'")
