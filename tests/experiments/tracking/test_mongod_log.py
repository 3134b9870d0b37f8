"""The log of mongod tells damaged files from a full disk, and the last server's words from those of earlier ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.tracking.mongod import damage, last_error, rotate

START = {"s": "I", "c": "CONTROL", "id": 4615611, "msg": "MongoDB starting", "attr": {"pid": 7}}
FATAL = {"s": "F", "c": "ASSERT", "id": 23089, "msg": "Fatal assertion", "attr": {"msgid": 50853}}


def engine(code: int, message: str, error: str = "WT_ERROR") -> dict:
    told = {"msg": message, "error_str": error}
    return {"s": "E", "c": "WT", "msg": "WiredTiger error message", "attr": {"error": code, "message": told}}


CORRUPT, MISSING, FULL, PANIC = (
    engine(-31809, "WiredTiger.wt is corrupted"),
    engine(2, "open: No such file"),
    engine(28, "pwrite: failed to write", "No space left"),
    engine(-31804, "the process must exit and restart"),
)


def log(path: Path, *entries: object) -> Path:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join([*lines, '{"s": "I", "cut sho']))
    return path


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([START, CORRUPT, PANIC, FATAL], "WiredTiger.wt is corrupted"),
        ([START, MISSING, FATAL], "open: No such file"),
        ([START, {"s": "F", "c": "STORAGE", "msg": "Terminating.", "attr": {"reason": "-31803"}}, FATAL], "-31803"),
        ([START, FULL, PANIC, FATAL], None),
        ([START, CORRUPT], None),
        ([START, FATAL], None),
        ([CORRUPT, FATAL, START], None),
        ([CORRUPT, FATAL, START | {"attr": {"pid": 8}}, CORRUPT, FATAL], None),
        (["no JSON", "5", "[]", START, "null", CORRUPT, FATAL], "WiredTiger.wt is corrupted"),
        ([], None),
    ],
)
def test_damage_is_told_from_all_else(tmp_path, entries, found):
    assert damage(log(tmp_path / "log", *entries), 7) == found


def test_the_last_error_of_the_last_start(tmp_path):
    path = log(tmp_path / "log", CORRUPT, START, {"s": "E", "msg": "Failed", "attr": {"error": {"code": 5}}})
    assert last_error(path) == f'Failed {{"code": 5}} (see {path})'
    assert last_error(log(tmp_path / "log", CORRUPT, START)) == f"see {path}"
    assert last_error(log(tmp_path / "log", START, FULL)) == f"pwrite: failed to write No space left (see {path})"
    assert "full disk" in last_error(tmp_path / "none")
    assert damage(tmp_path / "none", 7) is None


def test_a_long_log_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.tracking.mongod.LOG_LIMIT", 10)
    path = tmp_path / "mongod.log"
    rotate(path)
    path.write_text("short")
    rotate(path)
    assert path.exists()
    path.write_text("long enough")
    rotate(path)
    assert not path.exists()
    assert (tmp_path / "mongod.log.1").read_text() == "long enough"
