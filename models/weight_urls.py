"""Weights at an address: downloaded once into the cache, by https, with their SHA-256 said and checked."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from models import published_taggers
from models.download import locked, weights_dir
from models.errors import CheckpointError
from models.fetching import FAILURES, TooLarge, transfer
from models.files import replaced

LARGEST = 2**31  # bytes of a file
POINTER = b"version https://git-lfs"  # how the text begins that stands for a file in Git's large file storage
SUM = re.compile(r"[0-9a-f]{64}")
FRAGMENT = "sha256="


def is_url(named: str) -> bool:
    """Whether a checkpoint is named by its address."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", named) is not None


def fetch_url(url: str, sha256: str | None = None) -> Path:
    """Path of the file at an address, downloaded if the cache does not hold it.

    Args:
        url: Beginning with https://, http:// only on this machine; `#sha256=...` behind it is as `sha256`.
        sha256: What the file must have; None: what is known of the address, else anything.

    Raises:
        CheckpointError: It cannot be had, is another file, too large, or the text that stands for a file in Git LFS.
    """
    url, _, fragment = url.partition("#")
    if fragment and not fragment.startswith(FRAGMENT):
        raise CheckpointError(f"{_shown(url)}#{fragment[:80]}: expected nothing behind #, or #{FRAGMENT} and 64 digits")
    expected = _sum(url, fragment.removeprefix(FRAGMENT) or None, sha256) or published_taggers.sum_at(url)
    _check(url)
    path = _place(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                _download(url, path, resume=expected is not None)
            digest = _digest(path)
    except OSError as error:
        where = f"{_shown(url)} in {path.parent}"
        raise CheckpointError(f"cannot keep {where}: {error}; set OSTINATO_CACHE elsewhere") from error
    if expected not in (None, digest):
        raise CheckpointError(
            f"{_shown(url)}: the file has the SHA-256 {digest}, expected {expected}; if the one that is expected is "
            f"right, delete {path} and try again"
        )
    return path


def _sum(url: str, *given: str | None) -> str | None:
    """The checksum that the user gives."""
    sums = {one.lower() for one in given if one is not None}
    if len(sums) > 1:
        raise CheckpointError(
            f"{_shown(url)}: two different checksums are given, {' and '.join(sorted(sums))}; leave one out"
        )
    for one in sums:
        if not SUM.fullmatch(one):
            raise CheckpointError(f"{_shown(url)}: {one[:80]!r} is no SHA-256, expected 64 hexadecimal digits")
        return one
    return None


def _check(url: str) -> None:
    """Refuse addresses that anybody on the way could answer for, and passwords.

    Raises:
        CheckpointError: It is one of these.
    """
    try:
        parts = urlsplit(url)
        loopback = _is_loopback(parts)
    except ValueError as error:
        raise CheckpointError(f"a checkpoint's address is not readable: {error}") from error
    if parts.username or parts.password:
        raise CheckpointError(f"{parts.scheme}://{parts.hostname}: leave name and password out of the address")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise CheckpointError(f"{_shown(url)}: expected an address that begins with https://, or the name of a file")


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where one may begin."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See urllib."""
        _check(newurl)
        if (urlsplit(req.full_url).scheme, urlsplit(newurl).scheme) == ("https", "http"):  # of this machine
            raise CheckpointError(f"{_shown(req.full_url)} leads to {_shown(newurl)}: expected an https:// address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _place(url: str) -> Path:
    """Where the cache has it: a folder by the address, the name as it is there."""
    name = re.sub(r"[^\w.-]+", "_", unquote(urlsplit(url).path).rsplit("/", 1)[-1])[-80:].lstrip(".") or "weights"
    return weights_dir() / "urls" / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def _download(url: str, path: Path, resume: bool) -> None:
    """Fetch a file, going on where it stopped only if a checksum will tell that both parts are of one file."""
    named = _shown(url)
    print(f"downloading {named}", file=sys.stderr, flush=True)
    part = path.with_name(f"{path.name}.part")
    if not resume:
        part.unlink(missing_ok=True)
    try:
        transfer(url, part, limit=LARGEST, opener=urllib.request.build_opener(_Redirects))
    except TooLarge as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(f"{named} is not taken: {error}; download it yourself and name the file") from error
    except FAILURES as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"cannot download {named} ({reason}). Try again, or download it on another machine and name the file"
        ) from error
    with part.open("rb") as file:
        start = file.read(len(POINTER) + 64).lower()
    if start.startswith(POINTER):
        part.unlink()
        raise CheckpointError(
            f"{named} gives the pointer of a file in Git LFS (its text begins with 'version https://git-lfs'), not the "
            f"file; take {_media(url) or 'the address from which Git LFS gives the file itself'}"
        )
    if start.lstrip().startswith((b"<!doctype html", b"<html")):
        part.unlink()
        raise CheckpointError(f"{named} gives a web page, not a file of weights; take the address of its download")
    os.replace(part, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {_digest(path)}", file=sys.stderr, flush=True)


def _shown(url: str) -> str:
    """An address as messages name it, without a query, which may hold a key."""
    return url.partition("?")[0]


def _media(url: str) -> str | None:
    """Where GitHub has the file itself that a pointer in a repository stands for."""
    match = re.fullmatch(
        r"https://(?:raw\.githubusercontent\.com/([^/]+/[^/]+)|github\.com/([^/]+/[^/]+)/(?:raw|blob))/(.+)", url
    )
    return f"https://media.githubusercontent.com/media/{match[1] or match[2]}/{match[3]}" if match else None


def _digest(path: Path) -> str:
    """SHA-256 of a file of the cache, computed again only after it has changed."""
    note, status = path.with_name(f"{path.name}.verified"), path.stat()
    state = {"bytes": status.st_size, "changed": status.st_mtime_ns}
    try:
        known = json.loads(note.read_text())
        if {key: known[key] for key in state} == state and SUM.fullmatch(known["sha256"]):
            return known["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass  # not there yet, or not ours: it is computed
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with replaced(note) as aside:
        aside.write_text(json.dumps({**state, "sha256": digest}))
    return digest
