"""Uploads, written to a private folder under names of our own while they are read, and deleted afterwards."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fastapi import Request

from experiments.service.problems import ServiceError
from preprocess.files import SUFFIXES

FIELD = "audio"  # of a form
RAW = ("audio/*", "application/octet-stream")  # content types of a body that is the file itself
_numbers = itertools.count()


@dataclass(frozen=True)
class Upload:
    """A file that was received.

    Attributes:
        path: Where it is, under a name of ours with the suffix that the client gave, where that is one of audio.
        bytes: Its size.
    """

    path: Path
    bytes: int


@contextlib.asynccontextmanager
async def received(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Upload]:
    """Receive the file of a request: the part `audio` of a form, or the body itself; deleted at the end.

    Args:
        request: Whose body was not read.
        folder: Private.
        max_bytes: Of the file.

    Raises:
        ServiceError: It is too large, there is none, or the body is damaged.
    """
    path = folder / str(next(_numbers))
    try:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            form = await request.form(max_files=1)
            file = form.get(FIELD)
            if file is None or isinstance(file, str):
                raise ServiceError(422, f"the form has no file {FIELD!r}: curl -F {FIELD}=@song.mp3 ADDRESS")
            suffix, content = PurePosixPath(file.filename or "").suffix.lower(), await file.read()
        else:
            suffix, content = "", await request.body()
        if len(content) > max_bytes:
            raise ServiceError(413, f"the file has {len(content):,} bytes, at most {max_bytes:,} are taken")
        path = path.with_suffix(suffix if suffix in SUFFIXES else "")
        path.write_bytes(content)
        yield Upload(path, len(content))
    finally:
        path.unlink(missing_ok=True)
