"""Published files, fetched once into a cache: resumable, verified, safe with several processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path

from models import musicnn_wheel, timm_weights, wheels
from models.cache import cache_dir
from models.errors import CheckpointError
from models.fetching import FAILURES, transfer
from models.files import replaced
from models.releases import RELEASES, Release, find


def weights_dir() -> Path:
    """`$OSTINATO_CACHE/weights`, or `~/.cache/ostinato/weights`."""
    return cache_dir() / "weights"


def fetch(release: Release | str, hint: str = "", wheel: Path | None = None) -> Path:
    """Path of a published file, downloaded if the cache does not hold it.

    A file is hashed when it is downloaded or first found, and again only after it has changed. An interrupted download
    goes on where it stopped. Image weights that timm has in its cache are taken from there. Of what a package of the
    Python package index carries, the cache holds a file of ours in safetensors, and the licence beside it.

    Args:
        release: An entry of `RELEASES`, or its name.
        hint: What else one can do where there is no network ("or ..."); ends the error message.
        wheel: The package's wheel, where it need not be fetched.

    Raises:
        CheckpointError: If the file cannot be had or is not the published one.
    """
    release = find(release) if isinstance(release, str) else release
    folder = weights_dir()
    path = folder / release.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if release.package:
            return _of_package(release, folder, hint, wheel)
        with locked(folder / f"{release.file}.lock"):
            if not path.exists():
                return _elsewhere(release, path, hint)
            if not _is_known(release, path):
                _verify(release, path, "delete it to have it downloaded again")
                _remember(path)
    except OSError as error:
        raise CheckpointError(
            f"cannot keep {release.file} in {folder}: {error}; set OSTINATO_CACHE elsewhere"
        ) from error
    return path


def _of_package(release: Release, folder: Path, hint: str, wheel: Path | None) -> Path:
    """The converted weights; those of the package's other releases are converted with them."""
    path = folder / f"{release.name}.safetensors"
    with locked(folder / f"{release.file}.lock"):
        if path.exists():
            return path
        with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as aside:
            found = wheel or folder / release.file  # which the user may have put there
            if wheel is None and not found.is_file():
                wheels.announce(release)
                found = wheels.download(release, Path(aside), hint)
            _verify(release, found, "it is not used; fetch it again, or from another index")
            for one in {**RELEASES, release.name: release}.values():
                if (one.package, one.sha256) == (release.package, release.sha256):
                    musicnn_wheel.convert(found, one, folder / f"{one.name}.safetensors")
    return path


def _elsewhere(release: Release, path: Path, hint: str) -> Path:
    """Where the file is after it was looked for outside our cache.

    Only where the server is reached and has no such file timm is asked: without a network it would try for a minute.
    """
    if found := timm_weights.cached(release):
        return found
    try:
        _download(release, path, " ".join(filter(None, (hint, timm_weights.remedy(release)))))
    except CheckpointError as error:
        refused = isinstance(error.__cause__, urllib.error.HTTPError)
        if refused and (found := timm_weights.download(release)):
            return found
        raise
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; the system releases it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(release: Release, path: Path, hint: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        transfer(release.url, part, release.bytes)
    except FAILURES as error:
        reason = getattr(error, "reason", None) or error
        message = (
            f"{release.name}: cannot download {release.file} from {release.url} ({reason}). "
            f"Put the file there by hand, as {path}, or try again to go on where it stopped"
        )
        raise CheckpointError(f"{message}; {hint}" if hint else message) from error
    try:
        _verify(release, part, "it was removed; try again")
    except CheckpointError:
        part.unlink()
        raise
    os.replace(part, path)
    _remember(path)


def _verify(release: Release, path: Path, remedy: str) -> None:
    size = path.stat().st_size
    if release.bytes is not None and size != release.bytes:
        raise CheckpointError(f"{path} has {size} bytes, {release.name} has {release.bytes}: {remedy}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(release.sha256):
        raise CheckpointError(f"{path} has the SHA-256 {digest}, {release.name} has {release.sha256}: {remedy}")


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _state(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "changed": status.st_mtime_ns}


def _remember(path: Path) -> None:
    with replaced(_note(path)) as aside:
        aside.write_text(json.dumps(_state(path)))


def _is_known(release: Release, path: Path) -> bool:
    """Whether the file was verified before and has not changed since."""
    try:
        known = json.loads(_note(path).read_text()) == _state(path)
    except (OSError, ValueError, RecursionError):
        return False
    return known and release.bytes in (None, path.stat().st_size)
