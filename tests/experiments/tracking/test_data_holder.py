"""A record of a server is read as far as it is one, and replaced whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat

import pytest

from experiments.tracking.data_holder import State, read_state, write_state

STATE = State("host", "6.0.5", 7, 1.5, socket="/x", boot="b", ticks=3)


def test_what_is_written_is_read(tmp_path):
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE
    assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600


def test_records_from_before_and_after_are_read(tmp_path):
    old = {"host": "h", "version": "6.0.5", "pid": 7, "pid_started": 1, "socket": None, "port": 8}
    (tmp_path / "server.json").write_text(json.dumps(old | {"later": True}))
    assert read_state(tmp_path) == State("h", "6.0.5", 7, 1, port=8)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", "null", "{", '{"host": "h"}', '{"host": "h", "version": 6}', "[" * 100_000]
    + [json.dumps({"host": "h", "version": "6", name: [1]}) for name in ("pid", "socket", "port", "boot", "ticks")],
)
def test_what_is_no_record_is_none(tmp_path, text):
    (tmp_path / "server.json").write_text(text)
    assert read_state(tmp_path) is None


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_state(tmp_path, STATE)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_state(tmp_path, State("host", "7.0.0"))
    assert read_state(tmp_path) == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["server.json"]
