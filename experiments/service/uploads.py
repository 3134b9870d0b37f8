"""Uploads, written to a private folder under names of our own while they are read, and deleted afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from starlette.requests import ClientDisconnect

from experiments.service.forms import AROUND, HOW, Form, suffix_of
from experiments.service.problems import ServiceError

FORM = "multipart/form-data"
RAW = ("audio/*", "application/octet-stream")  # content types of a body that is the file itself
SLOWEST, PATIENCE = 8 << 10, 10.0  # so many bytes in so many seconds are the least
BUFFER = 256 << 10  # bytes written at once


@contextlib.asynccontextmanager
async def received(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Path]:
    """Receive the file of a request: the part `audio` of a form, or the body itself; deleted at the end.

    Its name is ours. Of the client's, only the suffix is taken, where it is one of audio.

    Args:
        request: Whose body was not read.
        folder: Private.
        max_bytes: Of the file.

    Raises:
        ServiceError: It is too large or too slow, there is none, the body is damaged, or the disk is full.
    """
    kind = request.headers.get("content-type", RAW[1]).partition(";")[0].strip().lower()
    _check(request, kind, max_bytes)
    file = _File(folder, max_bytes)
    try:
        take, finish = _taker(request, kind, file)
        async for chunk in _fast_enough(request.stream()):
            take(chunk)
        finish()
        file.close()
        yield file.path
    finally:
        file.delete()


def _check(request: Request, kind: str, max_bytes: int) -> None:
    """Refuse by the headers alone."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ServiceError(
            415, f"Content-Encoding: {encoding[:80]!r}: send the file as it is", {"Accept-Encoding": "identity"}
        )
    if kind != FORM and kind != RAW[1] and not kind.startswith("audio/"):
        raise ServiceError(
            415,
            f"Content-Type: {kind[:80]!r}: expected is {FORM}, {' or '.join(RAW)}; {HOW}, or "
            "curl -H 'Content-Type: audio/mpeg' --data-binary @song.mp3 ADDRESS",
        )
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise ServiceError(400, f"Content-Length: {length[:80]!r} is no number of bytes")
    if int(length) > max_bytes + (AROUND if kind == FORM else 0):
        raise _too_large(f"{int(length):,} bytes", max_bytes)


def _too_large(size: str, max_bytes: int) -> ServiceError:
    return ServiceError(413, f"the upload has {size}, at most {max_bytes:,} are taken (service.max_mb)")


def _taker(request: Request, kind: str, file: _File) -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """What takes the pieces of a body, and what is told of its end."""
    content_type = request.headers.get("content-type", "")
    if kind != FORM:
        file.begin(suffix_of("", content_type))
        return file.write, lambda: None
    form, around = Form(content_type, file.begin, file.write), 0

    def take(chunk: bytes) -> None:
        """A piece, of whose form not much is anything but the file."""
        nonlocal around
        before = file.bytes
        form.write(chunk)
        around += len(chunk) - (file.bytes - before)
        if around > AROUND:
            raise ServiceError(413, f"the form has more than {AROUND:,} bytes besides its file: {HOW}")

    return take, form.finish


async def _fast_enough(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a body that comes at `SLOWEST` bytes in `PATIENCE` seconds at least."""
    clock = asyncio.get_running_loop().time
    due, counted = clock() + PATIENCE, 0
    while True:
        try:
            async with asyncio.timeout_at(due):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise ServiceError(
                408, f"the upload is too slow: less than {SLOWEST:,} bytes came in {PATIENCE:g} s"
            ) from None
        except ClientDisconnect:
            raise ServiceError(400, "the upload is cut off: the connection was closed before its end") from None
        if chunk is None:
            return
        counted += len(chunk)
        if counted >= SLOWEST:
            due, counted = clock() + PATIENCE, 0
        yield chunk


class _File:
    """The file that an upload is written to, from when its suffix is known; the disk's errors are the service's."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._file: BinaryIO | None = None
        self.path, self.bytes = folder, 0

    def begin(self, suffix: str) -> None:
        self.path = self._folder / f"{secrets.token_hex(16)}{suffix}"  # no upload can name another one
        with _disk():
            self._file = self.path.open("xb", buffering=BUFFER)

    def write(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > self._max_bytes:
            raise _too_large("more bytes than that", self._max_bytes)
        with _disk():
            self._file.write(data)

    def close(self) -> None:
        """Bring all to the disk; an empty file is refused."""
        if not self.bytes:
            raise ServiceError(422, "empty file: 0 bytes")
        with _disk():
            self._file.close()

    def delete(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what the buffer still holds has no place
                self._file.close()
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk() -> contextlib.AbstractContextManager[None]:
    try:
        yield
    except FileNotFoundError:
        raise ServiceError(
            503, "the folder of the service for uploads was deleted: it has to be started again"
        ) from None
    except OSError as error:
        raise ServiceError(
            503, f"the service cannot keep the upload while it reads it ({error.strerror})", {"Retry-After": "30"}
        ) from None
