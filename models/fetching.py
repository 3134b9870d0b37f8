"""One file from a server to a file beside its place, going on where an interrupted transfer stopped."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_CHUNK = 1 << 20
_TIMEOUT = 30.0
FAILURES = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


class TooLarge(Exception):
    """A server offers more than is wanted."""


def transfer(
    url: str,
    part: Path,
    size: int | None = None,
    progress: bool = True,
    limit: int | None = None,
    opener: urllib.request.OpenerDirector | None = None,
) -> None:
    """Append what is missing to a file, or start anew where the server cannot do that.

    Args:
        url: Of the whole file.
        part: What there is of it; made if absent.
        size: Bytes of the whole, where known.
        progress: Show a bar with the time left on standard error.
        limit: Bytes that the whole may have; None for any number.
        opener: What opens the address; None for urllib's own.

    Raises:
        TooLarge: The whole has more than `limit` bytes.
        OSError: One of `FAILURES` when the server cannot be reached, refuses, or breaks off; another where the disk
            is full.
    """
    have = part.stat().st_size if part.exists() else 0
    if have and have == size:
        return None
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = (opener.open if opener else urllib.request.urlopen)(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()
        return transfer(url, part, size, progress, limit, opener)
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")[:20]
        total = have + int(length) if length.isdecimal() else size
        _check(total, limit)
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with (
            part.open("ab" if resumed else "wb") as file,
            Progress(TextColumn("{task.description}"), *columns, console=console, disable=not progress) as bar,
        ):
            task = bar.add_task(part.name.removesuffix(".part"), total=total, completed=have)
            while chunk := response.read(_CHUNK):
                _check(file.tell() + len(chunk), limit)
                file.write(chunk)
                bar.advance(task, len(chunk))
            file.flush()
            os.fsync(file.fileno())
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")
    return None


def _check(size: int | None, limit: int | None) -> None:
    if limit is not None and size is not None and size > limit:
        raise TooLarge(f"it has {size:,} bytes or more, {limit:,} at most are taken")
