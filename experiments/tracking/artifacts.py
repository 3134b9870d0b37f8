"""Files in GridFS, each content once: a file's id is the beginning of its SHA-256."""

from __future__ import annotations

import datetime
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bson import Binary, ObjectId
from pymongo import ASCENDING
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from experiments.tracking.faults import only_duplicates

CHUNK = 255 * 1024  # bytes, GridFS's default
BATCH = 16  # chunks sent at once: 4 MB, far below the socket's time-out on a slow line


class FileChanged(ValueError):
    """A file was written to while it was being stored."""


def ensure_indexes(database: Database) -> None:
    """The indexes every GridFS has; the unique one makes storing idempotent."""
    database["fs.chunks"].create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
    database["fs.files"].create_index([("filename", ASCENDING), ("uploadDate", ASCENDING)])


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as hex digits.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_id(digest: str) -> ObjectId:
    """The GridFS id of the content with this SHA-256."""
    return ObjectId(digest[:24])


def put(database: Database, path: Path, digest: str | None = None) -> ObjectId:
    """Store a file unless its content is there already, and return its id.

    May be interrupted and repeated at any point, and done by several processes at once.

    Args:
        digest: its SHA-256 when known.

    Raises:
        OSError: it cannot be read.
        FileChanged: it was written to meanwhile.
        pymongo.errors.PyMongoError: the database failed.
    """
    digest = digest or sha256(path)
    identity = file_id(digest)
    if database["fs.files"].find_one({"_id": identity}, {"_id": 1}) is not None:
        return identity
    found, length = hashlib.sha256(), 0
    chunks = enumerate(_blocks(path))
    while batch := list(itertools.islice(chunks, BATCH)):
        for _, block in batch:
            found.update(block)
            length += len(block)
        _insert([{"files_id": identity, "n": n, "data": Binary(block)} for n, block in batch], database)
    if found.hexdigest() != digest:
        database["fs.chunks"].delete_many({"files_id": identity})
        raise FileChanged(f"{path} changed while it was stored")
    entry = {
        "_id": identity,
        "filename": path.name,
        "length": length,
        "chunkSize": CHUNK,
        "uploadDate": datetime.datetime.now(datetime.UTC),
        "metadata": {"sha256": digest},
    }
    try:
        database["fs.files"].insert_one(entry)
    except DuplicateKeyError:
        return identity  # another process stored the same content meanwhile
    return identity


def get(database: Database, identity: ObjectId) -> bytes:
    """The content of a stored file."""
    chunks = database["fs.chunks"].find({"files_id": identity}).sort("n", ASCENDING)
    return b"".join(chunk["data"] for chunk in chunks)


def delete_if_unused(database: Database, identity: ObjectId) -> bool:
    """Remove a stored file that no run names any more, neither as artifact nor as source."""
    in_sources = {"experiment.sources": {"$elemMatch": {"$elemMatch": {"$eq": identity}}}}
    if database["runs"].find_one({"$or": [{"artifacts.file_id": identity}, in_sources]}, {"_id": 1}) is not None:
        return False
    database["fs.files"].delete_one({"_id": identity})
    database["fs.chunks"].delete_many({"files_id": identity})
    return True


def _insert(chunks: list[dict[str, Any]], database: Database) -> None:
    try:
        database["fs.chunks"].insert_many(chunks, ordered=False)
    except BulkWriteError as error:
        if not only_duplicates(error):
            raise


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            yield block
