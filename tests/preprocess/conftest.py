"""Folders of audio, good and bad, and a stand-in for ffmpeg."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(__file__).parents[1] / "data"

FAKE_FFMPEG = """\
#!{python}
import os, struct, sys
import numpy as np
arguments = sys.argv[1:]
assert arguments[-2:] == ["au", "pipe:1"] or arguments[-3:-1] == ["-f", "au"], arguments
content = open(arguments[arguments.index("-i") + 1].removeprefix("file:"), "rb").read()
if not content.startswith(b"music"):
    sys.exit("x: Invalid data found when processing input")
if content.startswith(b"music of an hour"):
    print("  Duration: 01:00:00.00, start: 0.000000", file=sys.stderr, flush=True)
samples = np.stack([np.linspace(0, 0.5, 48000), np.linspace(0, 0.25, 48000)], 1).astype(">f4")
sys.stdout.buffer.write(struct.pack(">4s5I", b".snd", 32, 0xFFFFFFFF, 6, 48000, 2) + bytes(8) + samples.tobytes())
sys.stdout.flush()
if content.startswith(b"music that is killed"):
    os.kill(os.getpid(), 9)
if content.startswith(b"music that breaks off"):
    sys.exit("x: Error while decoding")
"""


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Has a folder not listed, as for a user without the right to; root would be given it."""
    scandir, refused = os.scandir, set()

    def denied(path: str | os.PathLike) -> object:
        if Path(path) in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    return refused.add


@pytest.fixture(scope="session")
def clips() -> list[Path]:
    """Real recordings, ogg and mp3."""
    return sorted(path for path in DATA.iterdir() if path.suffix in {".ogg", ".mp3"})


@pytest.fixture
def kick() -> Path:
    """10 s of stereo 44.1 kHz mp3."""
    return DATA / "kick_120bpm.mp3"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of audio: noise of a length, rate, channels and scale."""

    def make(
        name: str,
        seconds: float = 1.0,
        rate: int = 16000,
        channels: int = 1,
        scale: float = 0.1,
        subtype: str = "FLOAT",
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = scale * np.random.default_rng(1).standard_normal((round(seconds * rate), channels))
        soundfile.write(path, samples.astype(np.float32), rate, subtype=subtype if path.suffix == ".wav" else None)
        return path

    return make


@pytest.fixture
def ffmpeg(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program named ffmpeg, first on the PATH, that decodes files which begin with `music`."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "ffmpeg"
    program.write_text(FAKE_FFMPEG.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.fixture
def no_ffmpeg(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH without ffmpeg, whatever the machine has."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
