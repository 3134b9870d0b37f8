"""Files in GridFS, each content once: a file's id is the beginning of its SHA-256."""

from __future__ import annotations

import datetime
import hashlib
import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

from bson import Binary, ObjectId
from pymongo import ASCENDING
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from experiments.tracking.faults import insert_missing

CHUNK = 255 * 1024  # bytes, GridFS's default
BATCH = 16  # chunks sent at once: 4 MB, far below the socket's time-out on a slow line
ASKED = 1000  # files asked about at once


class FileChanged(ValueError):
    """A file was written to while it was being stored."""


def ensure_indexes(database: Database) -> None:
    """The indexes every GridFS has; the unique one makes storing idempotent."""
    database["fs.chunks"].create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
    database["fs.files"].create_index([("filename", ASCENDING), ("uploadDate", ASCENDING)])


def sha256(file: BinaryIO) -> str:
    """The SHA-256 of a file's content from its beginning, as hex digits.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def file_id(digest: str) -> ObjectId:
    """The GridFS id of the content with this SHA-256."""
    return ObjectId(digest[:24])


def put(database: Database, file: BinaryIO, name: str, digest: str | None = None) -> ObjectId:
    """Store a file unless its content is there already, and return its id.

    May be interrupted and repeated at any point, and done by several processes at once.

    Args:
        file: open for reading.
        name: what it is called there.
        digest: its SHA-256 when known.

    Raises:
        OSError: it cannot be read.
        FileChanged: it was written to meanwhile.
        pymongo.errors.PyMongoError: the database failed.
    """
    digest = digest or sha256(file)
    identity = file_id(digest)
    if database["fs.files"].find_one({"_id": identity}, {"_id": 1}) is not None:
        return identity
    found, length = hashlib.sha256(), 0
    blocks = enumerate(_blocks(file))
    while batch := list(itertools.islice(blocks, BATCH)):
        for _, block in batch:
            found.update(block)
            length += len(block)
        chunks = [{"files_id": identity, "n": n, "data": Binary(block)} for n, block in batch]
        insert_missing(database["fs.chunks"], chunks)
    if found.hexdigest() != digest:
        database["fs.chunks"].delete_many({"files_id": identity})
        raise FileChanged(f"{name} changed while it was stored")
    try:
        database["fs.files"].insert_one(_entry(name, length, digest))
    except DuplicateKeyError:
        return identity  # another process stored the same content meanwhile
    return identity


def put_small(database: Database, files: Mapping[str, tuple[str, bytes]]) -> None:
    """`put` for many files of one chunk at most, at the cost of a few exchanges with the database.

    Args:
        database: Of the runs.
        files: Name and content by SHA-256.
    """
    digests = {file_id(digest): digest for digest in files}
    for one in database["fs.files"].find({"_id": {"$in": list(digests)}}, {"_id": 1}):
        del digests[one["_id"]]
    new = [(identity, digest, *files[digest]) for identity, digest in digests.items()]
    chunks = [{"files_id": key, "n": 0, "data": Binary(content)} for key, _, _, content in new if content]
    insert_missing(database["fs.chunks"], chunks)
    insert_missing(database["fs.files"], [_entry(name, len(content), digest) for _, digest, name, content in new])


def incomplete(database: Database, identities: Collection[ObjectId]) -> set[ObjectId]:
    """Those of the ids under which no file is stored, or one of which chunks are missing."""
    bad: set[ObjectId] = set()
    waiting = list(identities)
    for first in range(0, len(waiting), ASKED):
        asked = waiting[first : first + ASKED]
        files = database["fs.files"].find({"_id": {"$in": asked}}, {"length": 1, "chunkSize": 1})
        wanted = {one["_id"]: -(-one["length"] // one.get("chunkSize", CHUNK)) for one in files}
        counting = [{"$match": {"files_id": {"$in": asked}}}, {"$group": {"_id": "$files_id", "n": {"$sum": 1}}}]
        found = {one["_id"]: one["n"] for one in database["fs.chunks"].aggregate(counting)}
        bad |= {identity for identity in asked if wanted.get(identity, -1) != found.get(identity, 0)}
    return bad


def forget(database: Database, identity: ObjectId) -> None:
    """Take back that a content is there; its next `put` stores the chunks that are missing."""
    database["fs.files"].delete_one({"_id": identity})


def get(database: Database, identity: ObjectId) -> bytes:
    """The content of a stored file."""
    chunks = database["fs.chunks"].find({"files_id": identity}).sort("n", ASCENDING)
    return b"".join(chunk["data"] for chunk in chunks)


def delete_unused(database: Database, identities: Collection[ObjectId]) -> None:
    """Remove those stored files that no run names any more, neither as artifact nor as source."""
    runs = database["runs"]
    for identity in identities:
        in_sources = {"experiment.sources": {"$elemMatch": {"$elemMatch": {"$eq": identity}}}}
        if any(runs.find_one(where, {"_id": 1}) for where in ({"artifacts.file_id": identity}, in_sources)):
            continue
        database["fs.files"].delete_one({"_id": identity})
        database["fs.chunks"].delete_many({"files_id": identity})


def _entry(name: str, length: int, digest: str) -> dict[str, Any]:
    return {
        "_id": file_id(digest),
        "filename": name,
        "length": length,
        "chunkSize": CHUNK,
        "uploadDate": datetime.datetime.now(datetime.UTC),
        "metadata": {"sha256": digest},
    }


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(CHUNK):
        yield block
