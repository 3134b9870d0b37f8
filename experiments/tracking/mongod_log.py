"""mongod's own log: kept short, and read for the reason why a server ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LIMIT = 10 * 2**20  # bytes
TAIL = 256_000  # bytes that hold the last start of a server
STARTING = 4615611  # the entry with which a server begins
NO_ENTRY = 2  # errno of a file that is missing
STORAGE = {"WT", "STORAGE", "RECOVERY"}  # components of the storage engine


def rotate(path: Path) -> None:
    """Put a log that has become long aside, where the one before it lies."""
    if path.exists() and path.stat().st_size > LIMIT:
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
