"""The `dashboard` command without a browser: its settings, its refusals, its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest

from experiments.errors import UserError
from experiments.tracking import dashboard
from experiments.tracking.database import COLLECTION, COLUMNS
from experiments.tracking.location import Location


def test_over_ssh_the_tunnel_is_named(monkeypatch):
    monkeypatch.setattr(dashboard.getpass, "getuser", lambda: "clara")
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.7 50000 10.0.0.2 22")
    assert dashboard.ssh_hint(9001) == "ssh -L 9001:127.0.0.1:9001 clara@10.0.0.2"
    monkeypatch.delenv("SSH_CONNECTION")
    assert dashboard.ssh_hint(9001) is None


def test_a_typo_is_named_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match=r"tracking\.listen"):
        dashboard.main(["with", "tracking.lisen=tcp"])
    assert not (tmp_path / "home").exists()


def test_without_a_database_the_remedy_is_named():
    where = Location("none", "No MongoDB here (no mongod). Set OSTINATO_MONGO_URL")
    with pytest.raises(UserError, match="Set OSTINATO_MONGO_URL"):
        dashboard.serve(where, threading.Event())


def test_a_database_that_does_not_answer_is_named_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    where = Location("given", "", f"mongodb://me:hemiola@127.0.0.1:{port}/runs?serverSelectionTimeoutMS=100")
    with pytest.raises(UserError, match=f"127.0.0.1:{port}.*refused$") as caught:
        dashboard.serve(where, threading.Event())
    assert "hemiola" not in str(caught.value)


def test_a_database_seen_before_its_first_run_gets_its_columns(database, mongo_url):
    url = urlunsplit(urlsplit(mongo_url)._replace(path=f"/{database.name}"))
    assert dashboard.count_runs(Location("given", "", url)) == 0
    assert {row["name"] for row in database[COLLECTION].find()} == set(COLUMNS)
    database[COLLECTION].delete_many({})
    assert dashboard.count_runs(Location("given", "", url)) == 0
    assert database[COLLECTION].count_documents({}) == 0, "who removed them wants none"


WAITS = """
from experiments.tracking.dashboard import stop_event
stop = stop_event()
print("ready", flush=True)
stop.wait(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_in_good_order(number):
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(120) == 0


@pytest.mark.parametrize(("hang_up", "ends"), [("SIG_DFL", True), ("SIG_IGN", False)])
def test_ends_with_its_parent_unless_told_to_survive_it(hang_up, ends):
    parent = f"""
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.{hang_up})
streams = {{"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], text=True, **streams)
print(child.stdout.readline().strip(), child.pid, flush=True)
"""
    answer = subprocess.run([sys.executable, "-c", parent, WAITS], capture_output=True, text=True, timeout=240)
    child = psutil.Process(int(answer.stdout.split()[1]))
    gone, alive = psutil.wait_procs([child], timeout=120 if ends else 2)
    for process in alive:
        process.kill()
    assert bool(gone) is ends
