"""A server starts wherever it can, says why where it cannot, and never leaves a process behind."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from experiments.errors import UserError
from experiments.tracking import data_holder, mongod, server_start
from experiments.tracking.data_holder import State, read_state, write_state
from experiments.tracking.server import EmbeddedServer, status
from tests.experiments.tracking.serving import lease

pytestmark = pytest.mark.usefixtures("home")

SPAWN_AND_DIE = """
import os, signal
from experiments.tracking import server_start
from experiments.tracking.server import EmbeddedServer
server_start._wait = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
EmbeddedServer().acquire()
"""


@pytest.fixture
def base() -> Iterator[Callable[[str], Path]]:
    """Makes a directory of this name, with a path short enough for sockets."""
    made: list[str] = []

    def make(name: str) -> Path:
        made.append(tempfile.mkdtemp(dir="/tmp"))
        path = Path(made[-1]) / name
        path.mkdir()
        return path

    yield make
    for path in made:
        shutil.rmtree(path)


@pytest.mark.parametrize("variable", ["TMPDIR", "XDG_RUNTIME_DIR"])
def test_a_temporary_directory_may_have_any_name(base, monkeypatch, variable):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    place = base("a b%2F100%@ä日+#?c=&'\"\\$~")
    monkeypatch.setenv(variable, str(place))
    with lease() as url, MongoClient(url, serverSelectionTimeoutMS=5000) as client:
        assert Path(status().socket).is_relative_to(place)
        assert client["x"].command("ping")["ok"]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["a,b", "a:b", "[x]", os.fsdecode(b"latin \xe9"), "d" * 90])
def test_one_that_cannot_hold_a_socket_of_mongod_gives_way_to_another(base, monkeypatch, caplog, name):
    place = base(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    with lease() as url, MongoClient(url, serverSelectionTimeoutMS=5000) as client:
        assert client["x"].command("ping")["ok"]
        assert not Path(status().socket).is_relative_to(place)
    assert caplog.text == ""


def test_without_any_place_for_a_socket_it_listens_on_tcp_and_says_so_in_one_line(monkeypatch, caplog):
    monkeypatch.setattr(server_start, "new_socket", lambda directory: (None, ["/tmp: others can write to /tmp"]))
    with lease() as url:
        assert "@127.0.0.1:" in url
    (record,) = caplog.records
    assert "others can write to /tmp" in record.getMessage()
    assert "127.0.0.1" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_port_that_is_taken_meanwhile_is_left_to_its_owner(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        ports = [stranger.getsockname()[1], server_start.free_port()]
        monkeypatch.setattr(server_start, "free_port", lambda: ports.pop(0))
        with lease(listen="tcp"):
            assert status().port != stranger.getsockname()[1]


def test_a_full_disk_at_the_record_leaves_no_server_behind(home, servers, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(data_holder, "replace_file", full)
        with pytest.raises(UserError, match=r"server\.json: cannot be written \(No space left on device\)"):
            EmbeddedServer().acquire()
        assert servers() == []
    with lease():
        assert len(servers()) == 1


def test_an_interrupt_during_the_start_leaves_no_server_behind(servers, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server_start, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedServer().acquire()
    assert servers() == []


def test_a_server_whose_client_was_killed_while_it_started_is_joined_or_gone(home, servers, base, monkeypatch):
    """Whichever of the two servers gets the data, one is left, and the next client has it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base("r")))
    killed = subprocess.run([sys.executable, "-c", SPAWN_AND_DIE])
    assert killed.returncode == -signal.SIGKILL
    assert read_state(home / "mongo") is None
    with lease() as url, MongoClient(url, serverSelectionTimeoutMS=5000) as client:
        pid = client.admin.command("serverStatus")["pid"]
        assert status().pid == pid
        assert pid in servers()
    assert servers() == []


def test_data_of_another_version_is_refused_with_the_way_over(home):
    (home / "mongo").mkdir(parents=True)
    write_state(home / "mongo", State(socket.gethostname(), "4.4.1"))
    with pytest.raises(UserError, match=r"Move .* away and send the runs again .*ex_pretrain\.py sync runs"):
        EmbeddedServer().acquire()


def test_a_server_that_cannot_start_says_why(home, servers, monkeypatch):
    data = home / "mongo" / "data"
    data.mkdir(parents=True)
    (data / "mongod.lock").mkdir()
    with pytest.raises(UserError, match=r"(?i)lock file.*mongod\.log"):
        EmbeddedServer().acquire()
    broken = home / "mongod"
    broken.write_text('#!/bin/sh\ncase "$1" in --version) echo "db version v6.0.9";; *) exit 7;; esac\n')
    broken.chmod(0o755)
    monkeypatch.setenv(mongod.VARIABLE, str(broken))
    with pytest.raises(UserError, match="mongod ended with code 7"):
        EmbeddedServer().acquire()
    assert servers() == []


@pytest.mark.parametrize("name", ["WiredTiger.turtle", "WiredTiger.wt", "_mdb_catalog.wt", "storage.bson"])
def test_damaged_files_are_named_with_the_way_to_a_new_database(home, servers, name):
    with lease() as url, MongoClient(url) as client:
        client["x"]["y"].insert_one({"_id": 1})
    damage(home / "mongo" / "data" / name)
    with pytest.raises(UserError, match=r"damaged .*Move .*mongo away and send the runs again .* sync runs"):
        EmbeddedServer().acquire()
    assert servers() == []
    (home / "mongo").rename(home / "aside")
    with lease() as url, MongoClient(url) as client:
        assert client["x"]["y"].find_one() is None


def test_a_damaged_table_is_named_once_the_server_has_met_it(home, eventually, caplog):
    """It starts, and ends at the first question about the table; starting it over and over would help nobody."""
    with lease() as url, MongoClient(url) as client:
        client["x"]["y"].insert_many([{"_id": number, "text": "t" * 1000} for number in range(1000)])
        name = client["x"].command("collStats", "y")["wiredTiger"]["uri"].rpartition(":")[2]
    damage(home / "mongo" / "data" / f"{name}.wt")
    with lease() as url, MongoClient(url, serverSelectionTimeoutMS=2000) as client:
        ours = EmbeddedServer()
        ours.acquire()
        with pytest.raises(PyMongoError):
            list(client["x"]["y"].find())
        eventually(lambda: status() is None)
        with pytest.raises(UserError, match=r"damaged .*sync runs"):
            ours.revive()
        assert caplog.text == ""
        ours.acquire()
        assert "damaged" in caplog.text, "a new command is told, and served as far as it goes"
        ours.release()


def test_a_killed_server_is_not_taken_for_a_damaged_one(home, eventually, caplog):
    ours = EmbeddedServer()
    ours.acquire()
    os.kill(status().pid, signal.SIGKILL)
    eventually(lambda: status() is None)
    ours.revive()
    ours.release()
    assert caplog.text == ""


def test_the_log_is_rotated(home, monkeypatch):
    monkeypatch.setattr(mongod, "LOG_LIMIT", 100)
    for _ in range(2):
        with lease():
            pass
    assert (home / "mongo" / "mongod.log.1").exists()


def damage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))
