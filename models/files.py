"""Files that are replaced in one step: whoever reads meets the old one or the new one, whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path, suffix: str = ".new") -> Iterator[Path]:
    """A path beside a file, to write to; what is written there takes the file's place, unless writing fails.

    Args:
        path: Of the file.
        suffix: Of the path beside it, by which nobody should take it for a finished file.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
