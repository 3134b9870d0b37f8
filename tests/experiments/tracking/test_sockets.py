"""The folder of a socket is new, private, and where nobody can put another in its place."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from experiments.tracking import sockets
from experiments.tracking.sockets import SOCKET_NAME, is_private, new_socket, remove_socket, take_over


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The only place that is tried; its name is short."""
    place = tmp_path / "p"
    place.mkdir()
    monkeypatch.setattr(sockets, "_places", lambda directory: iter([str(place)]))
    monkeypatch.setattr(sockets, "PATH_LIMIT", 4096)
    monkeypatch.setattr(socket.socket, "bind", lambda self, path: Path(path).touch())
    return place


def test_every_folder_is_new_and_private(place, tmp_path):
    folders = []
    for _ in range(20):
        path, reasons = new_socket(tmp_path)
        assert (path.name, reasons, path.exists()) == (SOCKET_NAME, [], False)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert is_private(path.parent)
        folders.append(path.parent)
    assert len(set(folders)) == 20


def test_a_place_where_all_may_rename_is_passed_over(place, tmp_path):
    place.chmod(0o777)
    path, (reason,) = new_socket(tmp_path)
    assert path is None
    assert "others can write" in reason
    place.chmod(0o1777)
    assert new_socket(tmp_path)[0] is not None, "as in /tmp, nobody can touch what is another's"


def test_a_place_under_a_folder_of_another_user_is_passed_over(place, tmp_path, monkeypatch):
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    monkeypatch.setattr(sockets, "_root", lambda: [me + 2])
    path, (reason,) = new_socket(tmp_path)
    assert path is None
    assert "belongs to another user" in reason


def test_a_file_system_without_sockets_is_passed_over(place, tmp_path, monkeypatch):
    def refuse(self: socket.socket, path: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    path, (reason,) = new_socket(tmp_path)
    assert path is None
    assert "not permitted" in reason
    assert list(place.iterdir()) == []


def test_places_that_are_missing_or_unusable_are_named(place, tmp_path, monkeypatch):
    names = [str(tmp_path / "none"), "/a,b", "/[a]", "/a:b", os.fsdecode(b"/\xe9"), f"/{'d' * 5000}"]
    monkeypatch.setattr(sockets, "_places", lambda directory: iter([*names, str(place)]))
    path, reasons = new_socket(tmp_path)
    assert path.is_relative_to(place)
    assert [reason.split(": ")[0] for reason in reasons] == [name.split(": ")[0] for name in names]
    assert "4096 at most" in reasons[-1]


def test_the_longest_path_that_is_taken_can_be_bound(monkeypatch, tmp_path):
    room = sockets.PATH_LIMIT - len(f"/ostinato-12345678/{SOCKET_NAME}")
    base = Path("/tmp") / f"ostinato-test-{os.getpid()}"
    place = base / ("d" * (room - len(str(base)) - 1))
    place.mkdir(parents=True)
    try:
        monkeypatch.setattr(sockets, "_places", lambda directory: iter([f"{place}d", str(place)]))
        path, (reason,) = new_socket(tmp_path)
        assert len(os.fsencode(path)) == sockets.PATH_LIMIT
        assert f"{sockets.PATH_LIMIT + 1} bytes" in reason
        path.parent.rmdir()
    finally:
        place.rmdir()
        base.rmdir()


def test_only_private_folders_of_ours_are_private(tmp_path, monkeypatch):
    folder = tmp_path / "ostinato-x"
    assert not is_private(folder)
    folder.mkdir(mode=0o700)
    assert is_private(folder)
    (tmp_path / "link").symlink_to(folder)
    assert not is_private(tmp_path / "link")
    folder.chmod(0o710)
    assert not is_private(folder)
    folder.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert not is_private(folder)


def test_nothing_is_removed_but_a_socket_of_ours(tmp_path):
    folder = tmp_path / "ostinato-x"
    folder.mkdir(mode=0o700)
    path = folder / SOCKET_NAME
    path.write_text("a file")
    remove_socket(path)
    assert path.exists()
    other = tmp_path / "else"
    other.mkdir(mode=0o700)
    remove_socket(other / SOCKET_NAME)
    assert other.exists()
    path.unlink()
    remove_socket(path)
    assert not folder.exists()


def test_the_place_of_a_dead_socket_is_taken_over_and_that_of_a_living_one_is_not(monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="ostinato-", dir="/tmp"))
    path = folder / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert not take_over(path)
        remove_socket(path)
        assert path.exists()
    assert take_over(path)
    assert not path.exists()
    assert take_over(path), "the server itself has removed its socket"
    folder.chmod(0o755)
    assert not take_over(path)
    folder.chmod(0o700)
    monkeypatch.setattr(sockets, "_exposed", lambda place: "others can write to it")
    assert not take_over(path)
    remove_socket(path)
    assert not folder.exists()
