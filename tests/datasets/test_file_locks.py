"""A lock is held by one process, and not by those that it forks."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.file_locks import close_lock, is_held, open_folder_lock, open_lock, try_exclusive, wait_exclusive


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    file = open_lock(path)
    assert wait_exclusive(file, 60.0)
    yield
    close_lock(file)


def fork_a_sleeper() -> int:
    """A worker that does nothing until it is killed."""
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_lock_can_be_held_by_its_owner_only(tmp_path):
    (tmp_path / "old").touch(mode=0o644)
    for name in ("old", "new"):
        close_lock(open_lock(tmp_path / name))
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with pytest.raises(FileNotFoundError):
        open_lock(tmp_path / "none", make=False)


def test_a_file_system_without_locks_lets_everybody_go_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "lock"), locked(tmp_path / "lock"):
        assert not is_held(tmp_path / "lock")


def test_a_lock_is_held_once(tmp_path):
    path = tmp_path / "lock"
    assert not is_held(path)
    with locked(path):
        assert is_held(path)
        other = open_lock(path)
        assert not wait_exclusive(other, 0.0)
        assert not try_exclusive(other)
        close_lock(other)
    assert not is_held(path)


def test_a_lock_let_go_is_free_though_a_forked_process_lives(tmp_path):
    with locked(tmp_path / "lock"):
        child = fork_a_sleeper()
    assert not is_held(tmp_path / "lock")
    end(child)


def test_a_lock_does_not_outlive_its_process_in_a_forked_one(tmp_path, eventually):
    path = tmp_path / "lock"
    holder = os.fork()
    if holder == 0:
        try_exclusive(open_lock(path))
        Path(tmp_path / "worker").write_text(str(fork_a_sleeper()))
        signal.pause()
        os._exit(0)
    worker = int(eventually(lambda: (tmp_path / "worker").is_file() and (tmp_path / "worker").read_text()))
    assert is_held(path)
    end(holder)
    eventually(lambda: not is_held(path))
    os.kill(worker, signal.SIGKILL)


def test_the_lock_of_a_parent_is_not_let_go_by_its_child(tmp_path):
    file = open_lock(tmp_path / "lock")
    try_exclusive(file)
    child = os.fork()
    if child == 0:
        close_lock(file)
        os._exit(0)
    os.waitpid(child, 0)
    assert is_held(tmp_path / "lock")
    close_lock(file)
    assert not is_held(tmp_path / "lock")


def test_a_folder_is_locked_for_its_owner_alone(tmp_path):
    lock = open_folder_lock(tmp_path)
    assert not is_held(tmp_path)
    assert try_exclusive(lock)
    child = fork_a_sleeper()
    assert is_held(tmp_path)
    close_lock(lock)
    assert not is_held(tmp_path)
    end(child)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        open_folder_lock(tmp_path / "file")
