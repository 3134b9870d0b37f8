"""A server that runs is joined whatever has become of its record, and replaced only when nobody can reach it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient, WriteConcern

from datasets.store_files import replace_file
from experiments.errors import UserError
from experiments.tracking import data_holder, mongod
from experiments.tracking.data_holder import State, read_state, write_state
from experiments.tracking.endpoint import Endpoint, free_port
from experiments.tracking.server import EmbeddedServer, status, stop
from tests.experiments.tracking.serving import lease

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def running() -> Iterator[str]:
    """The URL of a server that somebody uses, and that holds one document."""
    with lease() as url:
        with MongoClient(url) as client:
            client["x"]["y"].with_options(write_concern=WriteConcern(j=True)).insert_one({"_id": 1})
        yield url


@pytest.fixture
def spawn(home) -> Iterator[Callable[..., psutil.Process]]:
    """Starts a mongod on the data of this home with arguments of somebody else's choice."""
    children: list[subprocess.Popen] = []

    def start(*arguments: str) -> psutil.Process:
        data = home / "mongo" / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [mongod.find().path, "--dbpath", data, "--logpath", home / "log", *arguments]
        children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return psutil.Process(children[-1].pid)

    yield start
    for child in children:
        child.kill()
        child.wait()


def without_record(directory: Path) -> None:
    (directory / "server.json").unlink()


def with_a_damaged_record(directory: Path) -> None:
    (directory / "server.json").write_text('{"host": ')


def with_a_stranger_recorded(directory: Path) -> None:
    write_state(directory, State("elsewhere", "6.0.5", os.getppid(), 1.0, port=1))


def with_the_clock_set(directory: Path) -> None:
    state = read_state(directory)
    write_state(directory, replace(state, pid_started=state.pid_started + 7200))


def with_an_old_record(directory: Path) -> None:
    record = asdict(read_state(directory))
    del record["boot"], record["ticks"]
    (directory / "server.json").write_text(json.dumps(record | {"pid_started": record["pid_started"] - 3600}))


@pytest.mark.parametrize(
    "change",
    [without_record, with_a_damaged_record, with_a_stranger_recorded, with_the_clock_set, with_an_old_record],
)
def test_a_running_server_is_found_whatever_is_recorded(running, home, servers, monkeypatch, change):
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    pid = status().pid
    change(home / "mongo")
    assert status().pid == pid
    with lease() as url:
        assert url == running
        assert servers() == [pid]
        recorded = read_state(home / "mongo")
        assert (recorded.pid, recorded.host, recorded.version) == (pid, "renamed", status().version)
    assert servers() == [pid], "the first client uses it still"
    change(home / "mongo")
    assert stop() is True
    assert servers() == []
    assert status() is None
    assert stop() is False
    assert not Path(recorded.socket).parent.exists()


def test_a_lock_file_removed_by_hand_does_not_hide_the_server(running, home):
    (home / "mongo" / "data" / "mongod.lock").unlink()
    with lease() as url:
        assert url == running


def test_the_last_client_stops_a_server_that_nobody_recorded(home, servers, monkeypatch):
    with lease():
        without_record(home / "mongo")
    assert servers() == []


def test_a_server_whose_socket_was_tidied_away_is_replaced(running, servers, caplog):
    first = status()
    shutil.rmtree(Path(first.socket).parent)
    with lease() as url, MongoClient(url) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert servers() == [status().pid] != [first.pid]
    assert f"process {first.pid}" in caplog.text


def test_a_socket_in_somebody_elses_folder_is_never_connected_to(running, servers):
    """Our folder was tidied away, and another user, who knows its name from the list of processes, has made one."""
    first = status()
    folder = Path(first.socket).parent
    shutil.rmtree(folder)
    folder.mkdir()
    folder.chmod(0o755)
    if os.getuid() == 0:
        os.chown(folder, 12345, 12345)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(first.socket)
        theirs.listen()
        theirs.settimeout(0.2)
        with lease() as url, MongoClient(url) as client:
            assert url != running
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert status().pid != first.pid
        with pytest.raises(TimeoutError):
            theirs.accept()
    shutil.rmtree(folder)


def test_a_socket_that_only_the_server_sees_is_named_and_the_server_left_alone(running, monkeypatch):
    """As with a /tmp of its own."""
    first = status()
    folder = Path(first.socket).parent
    folder.rename(folder.with_name(f"{folder.name}-elsewhere"))
    monkeypatch.setattr(Endpoint, "is_hidden", lambda self, pid: True)
    with pytest.raises(UserError, match=f"process {first.pid}.*does not see.*kill {first.pid}"):
        EmbeddedServer().acquire()
    assert status() == first
    folder.with_name(f"{folder.name}-elsewhere").rename(folder)


def test_a_server_of_the_users_own_on_the_data_is_named_and_can_be_stopped(spawn, home, eventually):
    port = free_port()
    theirs = spawn("--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket")
    eventually(lambda: (home / "mongo" / "data" / "mongod.lock").is_file() and status())
    with MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=60000) as client:
        assert client.admin.command("ping")["ok"]
    with pytest.raises(UserError, match=rf"used by another MongoDB \(process {theirs.pid} of the user .*End it"):
        EmbeddedServer().acquire()
    assert status().pid == theirs.pid
    assert stop() is True
    assert status() is None


def test_a_server_of_another_user_on_the_data_is_named(running, home, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(data_holder, "_holder", lambda *_, **__: None)
        patched.setattr(data_holder, "DYING_SECONDS", 0.1)
        for attempt in (EmbeddedServer().acquire, status, stop):
            with pytest.raises(UserError, match=r"used by another MongoDB \(process \d+ of the user .*OSTINATO_HOME"):
                attempt()


def test_servers_on_tcp_from_before_are_joined(spawn, home, eventually):
    """They have a user with the password on file instead of a key file."""
    port, password = free_port(), "a" * 64
    theirs = spawn("--quiet", "--bind_ip", "127.0.0.1", "--port", str(port), "--auth", "--nounixsocket")
    with MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=60000) as client:
        client.admin.command("createUser", "ostinato", pwd=password, roles=["root"])
    replace_file(home / "mongo" / "password", password.encode(), 0o600)
    started = psutil.Process(theirs.pid).create_time()
    old = {"host": socket.gethostname(), "version": "6.0.5", "pid": theirs.pid, "pid_started": started, "port": port}
    (home / "mongo" / "server.json").write_text(json.dumps(old | {"socket": None}))
    ours = EmbeddedServer(keep_server=True)
    with MongoClient(ours.acquire()) as client:
        assert client.get_default_database()["runs"].insert_one({}).acknowledged
    assert status().pid == theirs.pid
    ours.release()


def test_a_lost_password_costs_the_server_but_not_its_data(home, servers):
    first = EmbeddedServer(listen="tcp")
    with MongoClient(first.acquire()) as client:
        client["x"]["y"].with_options(write_concern=WriteConcern(j=True)).insert_one({"_id": 1})
    for change in (lambda path: path.unlink(), lambda path: path.write_text("0" * 64)):
        pid = status().pid
        change(home / "mongo" / "password")
        with MongoClient(first.revive()) as client:
            assert client["x"]["y"].find_one() == {"_id": 1}
        assert servers() == [status().pid] != [pid]
    first.release()
