"""One embedded server for all who lease it, closed to others, gone with the last; tried with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import OperationFailure

from experiments.errors import UserError
from experiments.tracking import cli, mongod, server, server_join
from experiments.tracking.data_holder import State, read_state, write_state
from experiments.tracking.server import EmbeddedServer, status, stop
from tests.experiments.tracking.serving import lease

pytestmark = pytest.mark.usefixtures("home")

CLIENT = """
import sys
from experiments.tracking.server import EmbeddedServer
server = EmbeddedServer()
print(server.acquire(), flush=True)
sys.stdin.readline()
server.release()
"""

EXPERIMENT = """
import sys, time
from pymongo import MongoClient, WriteConcern
from experiments.tracking.journal import Journal
from experiments.tracking.server import EmbeddedServer
from experiments.tracking.uploader import Uploader, Waits
server = EmbeddedServer(); url = server.acquire()
journal = Journal.create(sys.argv[1])
journal.append("start", document={"status": "RUNNING", "info": {}}, sources=[])
uploader = Uploader(journal.directory, lambda: MongoClient(server.revive())["eight"], waits=Waits(poll=0.05))
uploader.start()
journal.append("metrics", name="loss", points=[[0, 0.5, time.time()]])
journal.append("end", status="COMPLETED", stop_time=time.time(), result=None, fail_trace=None)
print(uploader.drain(120), uploader.run_id, flush=True)
sys.stdin.readline()
server.release()
"""


def client_process() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ports_of(pid: int) -> list[tuple[str, int]]:
    return [tuple(c.laddr) for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]


def test_eight_experiments_at_once_share_one_server_that_leaves_with_the_last(home, servers, tmp_path):
    command = [sys.executable, "-c", EXPERIMENT, str(tmp_path / "runs")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(8)]
    answers = [child.stdout.readline().split() for child in children]
    assert [left for left, _ in answers] == ["0"] * 8
    assert sorted(int(number) for _, number in answers) == list(range(1, 9))
    (pid,) = servers()
    assert pid == status().pid
    assert ports_of(pid) == [], "no TCP port at all"
    path = Path(status().socket)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for child in children:
        child.communicate("\n", timeout=240)
        assert child.returncode == 0
    assert servers() == []
    assert status() is None
    assert not path.exists()


def test_tcp_listens_on_loopback_behind_a_password(home):
    with lease(listen="tcp") as url:
        state = status()
        assert ports_of(state.pid) == [("127.0.0.1", state.port)]
        with MongoClient(url) as client:
            client.get_default_database()["runs"].insert_one({"_id": 1})
        with MongoClient("127.0.0.1", state.port) as stranger, pytest.raises(OperationFailure, match="auth"):
            stranger["ostinato"]["runs"].find_one()
        password = home / "mongo" / "password"
        assert stat.S_IMODE(password.stat().st_mode) == 0o600
        assert len(bytes.fromhex(password.read_text())) == 32
        assert password.read_text() not in " ".join(psutil.Process(state.pid).cmdline())
        assert password.read_text() not in (home / "mongo" / "server.json").read_text()
    assert status() is None
    with lease(listen="tcp") as url, MongoClient(url) as client:
        assert client.get_default_database()["runs"].find_one() == {"_id": 1}


def test_a_strangers_server_is_not_joined(home, mongo_url):
    """Our record points to a living server of somebody else: its pid is not ours, so we start our own."""
    (home / "mongo").mkdir(parents=True)
    theirs = mongo_url.removeprefix("mongodb://").split("/")[0].replace("%2F", "/")
    write_state(home / "mongo", State(socket.gethostname(), "6.0.5", 2**22 - 1, 1.0, socket=theirs))
    with lease() as url:
        assert url != mongo_url
        assert status().socket != theirs
    with MongoClient(mongo_url) as client:
        assert client.admin.command("ping")["ok"]


def test_stale_socket_and_stale_pid_of_a_living_stranger(home):
    with lease():
        path = Path(status().socket)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    write_state(home / "mongo", State(socket.gethostname(), "6.0.5", os.getppid(), 1.0, socket=str(path)))
    with lease() as url, MongoClient(url) as client:
        assert client.admin.command("ping")["ok"]
    assert psutil.pid_exists(os.getppid())


def test_a_killed_server_is_started_again_with_its_data(servers, eventually):
    ours = EmbeddedServer()
    with MongoClient(ours.acquire()) as client:
        client["x"]["y"].with_options(write_concern=WriteConcern(j=True)).insert_one({"_id": 1})
    killed = status().pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: status() is None)
    before = ours.url
    with MongoClient(ours.revive()) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
    assert status().pid != killed
    assert ours.url == before, "clients that are not told find it again"
    ours.release()
    assert servers() == []
    with pytest.raises(UserError, match="lease"):
        ours.revive()


def test_a_killed_client_counts_no_longer(servers, eventually):
    first, second = client_process(), client_process()
    url = first.stdout.readline()
    assert second.stdout.readline() == url
    first.kill()
    first.communicate()
    assert status() is not None
    second.communicate("\n", timeout=240)
    assert servers() == []


def test_forked_children_do_not_release_and_kept_servers_stay(servers):
    ours = EmbeddedServer()
    ours.acquire()
    child = os.fork()
    if child == 0:
        ours.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert status() is not None
    other = EmbeddedServer(keep_server=True)
    other.acquire()
    ours.release()
    other.release()
    assert status() is not None
    assert stop() is True
    assert stop() is False
    assert servers() == []


def test_a_frozen_server_is_named_with_its_remedy_and_does_not_hold_up_the_exit(servers, monkeypatch, eventually):
    monkeypatch.setattr(server, "PATIENCE", 1)
    ours = EmbeddedServer()
    ours.acquire()
    pid = status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match=f"kill -CONT {pid}"):
            EmbeddedServer().acquire()
        monkeypatch.setattr(server_join, "STOP_SECONDS", 3600)
        with pytest.raises(UserError, match="is frozen; it ends as soon as it is continued"):
            stop()  # and does not say that it has stopped
        ours.release()
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: servers() == [])


def test_the_commands_tell_of_a_server_and_stop_it(home, capsys):
    assert cli.server(["status"]) == 1
    assert capsys.readouterr().out == "no embedded MongoDB is running\n"
    with lease():
        (home / "mongo" / "server.json").unlink()
        assert cli.server(["status"]) == 0
        said = capsys.readouterr().out
        assert f"MongoDB {mongod.find().version} runs as process {status().pid} at {status().socket}" in said
        assert cli.server(["stop"]) == 0
        assert cli.server(["stop"]) == 1
        assert capsys.readouterr().out == "stopped\nno embedded MongoDB is running\n"


def test_server_json_and_start_flags(home):
    with lease():
        state = json.loads((home / "mongo" / "server.json").read_text())
        assert state["version"].startswith("6.")
        process = psutil.Process(state["pid"])
        assert "diagnosticDataCollectionEnabled=0" in process.cmdline()
        assert os.getsid(process.pid) != os.getsid(0)
        assert {os.readlink(f"/proc/{process.pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
    assert read_state(home / "mongo").pid is None
