"""Where this suite keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$OSTINATO_CACHE`, or `~/.cache/ostinato`. It may not exist yet."""
    root = os.environ.get("OSTINATO_CACHE", "").strip()
    return Path(root).expanduser() if root else Path.home() / ".cache" / "ostinato"
