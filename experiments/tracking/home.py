"""The user's own directory of this suite: the embedded server's data, and pointers to runs not yet fully sent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from experiments.errors import UserError


def home() -> Path:
    """`$OSTINATO_HOME`, or `ostinato` in the user's data directory. The directory need not exist yet."""
    if given := os.environ.get("OSTINATO_HOME"):
        return Path(given).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "ostinato"


def private_directory(path: Path) -> Path:
    """`path` as a directory that only its owner can enter (mode 0700), created when missing.

    Raises:
        UserError: it cannot be created, written or closed to others.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a private directory ({error.strerror}). {REMEDY}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written to. {REMEDY}")
    return path


REMEDY = "Set OSTINATO_HOME to a directory of yours that can be written to."


def pending_directory(directory: Path | None = None) -> Path:
    """Where a file per run that is not fully sent lies (`<home>/pending`)."""
    return (directory or home()) / "pending"
