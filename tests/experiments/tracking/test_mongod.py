"""Which mongod is taken: the first that starts here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments.errors import UserError
from experiments.tracking import mongod


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_first_binary_that_passes_the_probe_is_taken(tmp_path, monkeypatch):
    good = script(tmp_path / "good", "echo 'db version v7.1.2'")
    bad = script(tmp_path / "bad", "echo 'libcrypto.so.1.1: cannot open shared object file' >&2; exit 127")
    assert mongod.probe(good) == mongod.Binary(good, "7.1.2")
    assert "libcrypto" in mongod.probe(bad)
    assert mongod.probe(tmp_path / "none") == "no such file"
    (tmp_path / "plain").write_text("")
    assert mongod.probe(tmp_path / "plain") == "not executable"
    monkeypatch.setenv(mongod.VARIABLE, str(good))
    assert mongod.find().path == good
    monkeypatch.setenv(mongod.VARIABLE, str(bad))
    assert mongod.find().path != bad, "the wheel's is next"
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="libcrypto"):
        mongod.find()
    good.rename(tmp_path / "mongod")
    assert mongod.find().version == "7.1.2"
    monkeypatch.setattr(mongod, "has_avx", lambda: False)
    assert "AVX" in mongod.probe(tmp_path / "mongod")


def test_a_hanging_binary_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(mongod, "PROBE_SECONDS", 0.2)
    assert "timed out" in mongod.probe(script(tmp_path / "slow", "exec sleep 3600"))


def test_avx_is_read_from_the_flags(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "old").write_text("model\t: x\nflags\t\t: fpu sse4_2\n")
    (tmp_path / "new").write_text("flags\t\t: fpu avx avx2\n")
    assert not mongod.has_avx(tmp_path / "old")
    assert mongod.has_avx(tmp_path / "new")
    assert mongod.has_avx(tmp_path / "none")
