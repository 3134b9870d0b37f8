"""A content is stored once and whole, however often it was begun."""

from __future__ import annotations

import hashlib
import os

import pytest
from pymongo.errors import AutoReconnect

from experiments.tracking import artifacts
from experiments.tracking.database import prepare


def put(database, path, digest=None):
    with path.open("rb") as file:
        return artifacts.put(database, file, path.name, digest)


def test_storing_a_file_may_be_interrupted_and_repeated(database, tmp_path, monkeypatch):
    prepare(database)
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(artifacts.CHUNK * 40 + 17))
    real, calls = artifacts.insert_missing, []

    def interrupted(chunks, where):
        real(chunks, where)
        calls.append(1)
        if len(calls) == 2:
            raise AutoReconnect("gone")

    monkeypatch.setattr(artifacts, "insert_missing", interrupted)
    with pytest.raises(AutoReconnect):
        put(database, path)
    identity = put(database, path)
    assert artifacts.get(database, identity) == path.read_bytes()
    assert identity == artifacts.file_id(hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_file_that_changes_meanwhile_is_refused_and_leaves_nothing(database, tmp_path):
    prepare(database)
    path = tmp_path / "log"
    path.write_bytes(b"later")
    with pytest.raises(artifacts.FileChanged):
        put(database, path, hashlib.sha256(b"before").hexdigest())
    assert database["fs.chunks"].count_documents({}) == 0
    assert database["fs.files"].count_documents({}) == 0


def test_an_empty_file_is_a_file(database, tmp_path):
    prepare(database)
    (tmp_path / "empty").write_bytes(b"")
    identity = put(database, tmp_path / "empty")
    assert artifacts.get(database, identity) == b""
    assert database["fs.files"].find_one({"_id": identity})["length"] == 0
