"""Which file a checkpoint's name means: a file, the folder of a run, a folder in Hugging Face's layout."""

from __future__ import annotations

import hashlib
from pathlib import Path

from experiments.errors import UserError
from models.maest.huggingface import WEIGHT_FILES, is_folder


def checkpoint_file(named: str | Path) -> Path:
    """The file itself, or the best checkpoint of a run's folder, else its last, else the one of its interruption.

    A folder in Hugging Face's layout is a checkpoint as a whole.

    Raises:
        UserError: There is none.
    """
    path = Path(named).expanduser()
    names = [f"{name}.ckpt" for name in ("best", "last", "interrupted")]
    inside = [folder / name for folder in (path / "checkpoints", path) for name in names]
    file = path if path.is_file() else next((one for one in inside if one.is_file()), None)
    if file is None and is_folder(path):
        return path
    if file is None:
        missing = "no checkpoint in this folder" if path.is_dir() else "no such file"
        raise UserError(
            f"checkpoint {named}: {missing}; name a file, a run's folder, its trainer.checkpoint_dir, "
            f"or a folder with a model.safetensors"
        )
    return file


def digest(file: Path) -> str:
    """What the weights of a file are known by in headers of stores: the beginning of its SHA-256."""
    file = next((file / name for name in WEIGHT_FILES if (file / name).is_file()), file)
    with file.open("rb") as handle:
        return f"sha256 {hashlib.file_digest(handle, 'sha256').hexdigest()[:16]}"
