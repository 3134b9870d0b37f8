"""Files and folders that a command reads, looked for before its run begins, so that a typo leaves no failed run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.errors import UserError


def prepared_place(path: Path) -> bool:
    """Whether named configs look for a prepared corpus there: whoever opens it says which command makes it."""
    return path.name == "mels" or path.parts[:1] == ("data",)


def missing_folder(given: str) -> str | None:
    """Why there is no folder of that name; None where there is."""
    path = Path(given).expanduser()
    if path.is_dir():
        return None
    return "a file; give the folder it is in" if path.exists() else "no such folder"


def missing_audio(given: str) -> str | None:
    """Why there is neither a file nor a folder of that name; None where there is one."""
    return None if Path(given).expanduser().exists() else "no such file or folder"


MISSING: Mapping[str, Callable[[str], str | None]] = {
    "datamodule.base_dir": missing_folder,
    "inference.audio": missing_audio,
}


def check_given(assignments: Mapping[str, Any]) -> None:
    """Refuse what a command line assigns to a setting that names something to read, where it is not there.

    Values of named configs are not looked at: a command may have no use for theirs.

    Args:
        assignments: Dotted key -> value, as typed.

    Raises:
        UserError: Names the setting and its value.
    """
    for key, missing in MISSING.items():
        given = assignments.get(key)
        if given is not None and not prepared_place(Path(given)) and (why := missing(given)):
            raise UserError(f"{key}={given}: {why}")
