"""Where this suite keeps what it can make again: the rendered demo corpus and other derived files."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "OSTINATO_CACHE"


def cache_dir() -> Path:
    """The cache folder: the environment variable OSTINATO_CACHE, else `~/.cache/ostinato`. It may not exist yet."""
    chosen = os.environ.get(VARIABLE, "").strip()
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "ostinato"
