"""One embedded server for all who lease it, closed to others, gone with the last; tried with real processes."""

from __future__ import annotations

import json
import os
import shutil
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
from experiments.tracking import mongod, places, server
from experiments.tracking.server import EmbeddedServer, State, lease, read_state, status, stop, write_state

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


def servers_of(home: Path) -> list[int]:
    """Processes that use the data of this home."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if str(home) in " ".join(process.info["cmdline"] or ()) and "--dbpath" in process.info["cmdline"]:
            found.append(process.pid)
    return found


def ports_of(pid: int) -> list[tuple[str, int]]:
    return [tuple(c.laddr) for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]


def test_eight_experiments_at_once_share_one_server_that_leaves_with_the_last(home, tmp_path):
    command = [sys.executable, "-c", EXPERIMENT, str(tmp_path / "runs")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(8)]
    answers = [child.stdout.readline().split() for child in children]
    assert [left for left, _ in answers] == ["0"] * 8
    assert sorted(int(number) for _, number in answers) == list(range(1, 9))
    (pid,) = servers_of(home)
    assert pid == status().pid
    assert ports_of(pid) == [], "no TCP port at all"
    path = Path(status().socket)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for child in children:
        child.communicate("\n", timeout=240)
        assert child.returncode == 0
    assert servers_of(home) == []
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


def test_a_port_that_is_taken_meanwhile_is_left_to_its_owner(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        ports = [stranger.getsockname()[1], server._free_port()]
        monkeypatch.setattr(server, "_free_port", lambda: ports.pop(0))
        with lease(listen="tcp"):
            assert status().port != stranger.getsockname()[1]


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


def test_a_record_from_another_host_is_not_trusted(home):
    (home / "mongo").mkdir(parents=True)
    write_state(home / "mongo", State("elsewhere", "6.0.5", os.getpid(), psutil.Process().create_time(), port=1))
    assert status() is None
    assert stop() is False
    with lease():
        assert status().host == socket.gethostname()


def test_a_killed_server_is_started_again_with_its_data(home, eventually):
    ours = EmbeddedServer()
    with MongoClient(ours.acquire()) as client:
        client["x"]["y"].with_options(write_concern=WriteConcern(j=True)).insert_one({"_id": 1})
    killed = status().pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: status() is None)
    with MongoClient(ours.revive()) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
    assert status().pid != killed
    ours.release()
    assert servers_of(home) == []
    with pytest.raises(UserError, match="lease"):
        ours.revive()


def test_a_killed_client_counts_no_longer(home, eventually):
    first, second = client_process(), client_process()
    url = first.stdout.readline()
    assert second.stdout.readline() == url
    first.kill()
    first.communicate()
    assert status() is not None
    second.communicate("\n", timeout=240)
    assert servers_of(home) == []


def test_forked_children_do_not_release_and_kept_servers_stay(home):
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
    assert servers_of(home) == []


def test_a_frozen_server_is_named_with_its_remedy_and_does_not_hold_up_the_exit(home, monkeypatch, eventually):
    monkeypatch.setattr(server, "PATIENCE", 1)
    ours = EmbeddedServer()
    ours.acquire()
    pid = status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match=f"kill -CONT {pid}"):
            EmbeddedServer().acquire()
        monkeypatch.setattr(server, "STOP_SECONDS", 3600)
        ours.release()
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: servers_of(home) == [])


def test_a_home_that_cannot_be_written_is_named_with_a_remedy(tmp_path):
    """By a user who is not root, for whom every directory can be written."""
    home = tmp_path / "readonly"
    home.mkdir(mode=0o500)
    code = (
        "import os, sys\n"
        "from pathlib import Path; from experiments.errors import UserError\n"
        "from experiments.tracking.home import private_directory\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: private_directory(Path(sys.argv[1]))\n"
        "except UserError as error: print(error)"
    )
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="OSTINATO_HOME"):
        EmbeddedServer(blocked / "home").acquire()
    answer = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert "Set OSTINATO_HOME to a directory of yours" in answer.stdout


def test_data_of_another_version_is_refused_with_the_way_over(home):
    (home / "mongo").mkdir(parents=True)
    write_state(home / "mongo", State(socket.gethostname(), "4.4.1"))
    with pytest.raises(UserError, match=r"Move .* away and send the runs again .*ex_pretrain\.py sync runs"):
        EmbeddedServer().acquire()


def test_a_server_that_cannot_start_says_why(home, monkeypatch):
    data = home / "mongo" / "data"
    data.mkdir(parents=True)
    (data / "mongod.lock").mkdir()
    with pytest.raises(UserError, match=r"(?i)lock file.*mongod\.log"):
        EmbeddedServer().acquire()
    broken = 'case "$1" in --version) echo "db version v6.0.9";; *) exit 7;; esac'
    monkeypatch.setenv(mongod.VARIABLE, str(script(home / "mongod", broken)))
    with pytest.raises(UserError, match="mongod ended with code 7"):
        EmbeddedServer().acquire()
    assert servers_of(home) == []


def test_data_in_use_by_an_unrecorded_server_is_named(home, tmp_path):
    with lease():
        (home / "mongo" / "server.json").rename(tmp_path / "aside")
        with pytest.raises(UserError, match="another MongoDB"):
            EmbeddedServer().acquire()
        shutil.move(tmp_path / "aside", home / "mongo" / "server.json")
    assert servers_of(home) == []


def test_a_long_runtime_directory_gives_way_to_a_short_one(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with lease() as url, MongoClient(url) as client:
        assert client.admin.command("ping")["ok"]
        assert len(os.fsencode(status().socket)) <= places.SOCKET_PATH_LIMIT
        assert not status().socket.startswith(str(deep))


def test_no_usable_socket_means_tcp(monkeypatch):
    monkeypatch.setattr(places, "socket_path", lambda home: None)
    with lease() as url:
        assert "@127.0.0.1:" in url


def test_a_socket_directory_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / "theirs").symlink_to(tmp_path)
    with pytest.raises(UserError, match="somebody else"):
        places.owned_directory(tmp_path / "theirs")
    (tmp_path / "ours").mkdir(mode=0o755)
    assert stat.S_IMODE(places.owned_directory(tmp_path / "ours").stat().st_mode) == 0o700


def test_network_file_systems_are_recognised_and_avoided(tmp_path, monkeypatch, caplog):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/x / ext4 rw 0 0\nfiler:/x {tmp_path}/nfs nfs4 rw 0 0\n")
    (tmp_path / "nfs").mkdir()
    assert places.file_system(tmp_path / "nfs" / "home" / "not yet", mounts) == "nfs4"
    assert places.file_system(tmp_path / "local", mounts) == "ext4"
    monkeypatch.setattr(places, "file_system", lambda home: "nfs4")
    monkeypatch.setattr(places, "LOCAL", tmp_path / "var")
    directory = places.server_directory(tmp_path / "nfs" / "home")
    assert directory.is_relative_to(tmp_path / "var")
    assert socket.gethostname() in directory.name
    assert "network file system" in caplog.text


def test_the_log_is_rotated(home, monkeypatch):
    monkeypatch.setattr(server, "LOG_BYTES", 100)
    for _ in range(2):
        with lease():
            pass
    assert (home / "mongo" / "mongod.log.1").exists()


def test_server_json_and_start_flags(home):
    with lease():
        state = json.loads((home / "mongo" / "server.json").read_text())
        assert state["version"].startswith("6.")
        process = psutil.Process(state["pid"])
        assert "diagnosticDataCollectionEnabled=0" in process.cmdline()
        assert os.getsid(process.pid) != os.getsid(0)
        assert {os.readlink(f"/proc/{process.pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
    assert read_state(home / "mongo").pid is None


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
