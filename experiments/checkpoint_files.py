"""Which file a checkpoint's name means: a file, an address, the folder of a run, a folder in Hugging Face's layout."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

from experiments.errors import UserError
from models.maest.huggingface import WEIGHT_FILES, is_folder
from models.releases import RELEASES
from models.weight_urls import fetch_url, is_url

WEIGHTS = (".ckpt", ".pt", ".pth", ".safetensors")  # endings of files


def checkpoint_file(named: str | Path, sha256: str | None = None) -> Path:
    """The file itself, or the best checkpoint of a run's folder, else its last, else the one of its interruption.

    A folder in Hugging Face's layout is a checkpoint as a whole. What an address names is downloaded once.

    Args:
        named: As the user names it.
        sha256: What the file must have; None: anything.

    Raises:
        UserError: There is none, or it has another SHA-256.
        CheckpointError: It cannot be downloaded, or is another file than is known at its address.
    """
    if is_url(str(named)):
        return fetch_url(str(named), sha256)
    file = _on_disk(named)
    if sha256 is not None and not (file.is_file() and _sha256(file) == sha256.lower()):
        has = f"the SHA-256 {_sha256(file)}" if file.is_file() else "several files"
        raise UserError(f"checkpoint {named}: has {has}, expected {sha256}; give the right file, or leave the sum out")
    return file


def _on_disk(named: str | Path) -> Path:
    path = Path(named).expanduser()
    names = [f"{name}.ckpt" for name in ("best", "last", "interrupted")]
    inside = [folder / name for folder in (path / "checkpoints", path) for name in names]
    file = path if path.is_file() else next((one for one in inside if one.is_file()), None)
    if file is None and is_folder(path):
        return path
    if file is None:
        missing = "no checkpoint in this folder" if path.is_dir() else "no such file"
        releases = "" if path.is_dir() or len(path.parts) > 1 or path.suffix in WEIGHTS else _releases(str(named))
        raise UserError(
            f"checkpoint {named}: {missing}; name a file, an address (https://...), a run's folder, its "
            f"trainer.checkpoint_dir, or a folder with a model.safetensors{releases}"
        )
    return file


def _releases(name: str) -> str:
    """The end of a message where a name may be meant as that of a release: those that are near, or else all."""
    near = difflib.get_close_matches(name, RELEASES, n=3, cutoff=0.5)
    if near:
        return f", or a release: did you mean {' or '.join(near)}?"
    return f", or a release: {', '.join(RELEASES)}"


def digest(file: Path) -> str:
    """What the weights of a file are known by in headers of stores: the beginning of its SHA-256."""
    file = next((file / name for name in WEIGHT_FILES if (file / name).is_file()), file)
    return f"sha256 {_sha256(file)[:16]}"


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
