"""The launcher, with a stand-in for Node: what it starts, watches, restarts and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from experiments.errors import UserError
from experiments.tracking import omniboard as module
from experiments.tracking.database import COLUMNS

SECRET = "tritone-substitution"
URL = f"mongodb://me:{SECRET}@127.0.0.1:1/runs"

# Answers on the socket it was given: 500 while the file `ill` lies in its folder, else 200; notes how it was started.
STAND_IN = f"""#!{sys.executable} -IS
import json, os, socket, stat, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

folder = Path(__file__).parent
if sys.argv[1:] == ["--version"]:
    print((folder / "version").read_text())
    sys.exit()
config = Path(os.environ["OMNIBOARD_CONFIG"])
note = {{
    "arguments": sys.argv, "environment": dict(os.environ), "pid": os.getpid(), "session": os.getsid(0),
    "stdin": os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev,
    "mode": stat.S_IMODE(config.stat().st_mode), "config": json.loads(config.read_text()),
}}
(folder / "starts").open("a").write(json.dumps(note) + "\\n")
if (folder / "broken").exists():
    sys.exit("module not found: express")

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if (folder / "ill").exists() else 200)
        self.end_headers()

server = HTTPServer(("", 0), Page, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["OSTINATO_LISTEN_FD"]))
server.serve_forever()
"""


def until(condition, seconds: float = 120.0) -> bool:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.02)
    return True


@pytest.fixture
def node(tmp_path, monkeypatch) -> Path:
    """A PATH on which `node` and `omniboard` are stand-ins; returns their folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "version").write_text("v20.20.2")
    for name in ("node", "omniboard"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def starts(node: Path) -> list[dict]:
    file = node / "starts"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_finds_node_and_an_omniboard_installed_for_all(node, tmp_path):
    assert module.find_program(project=tmp_path) == (str(node / "node"), node / "omniboard")


def test_prefers_the_projects_omniboard(node, tmp_path):
    start = tmp_path / "node_modules" / "omniboard" / "dist" / "start.js"
    start.parent.mkdir(parents=True)
    start.touch()
    assert module.find_program(project=tmp_path)[1] == start


def test_finds_a_node_that_pip_installed_beside_python(node, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(node / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module.find_program(project=tmp_path)[0] == str(node / "node")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda node: (node / "node").unlink(), r"needs Node\.js.*make omniboard"),
        (lambda node: (node / "version").write_text("v14.2.0"), r"version v14\.2\.0: install Node\.js 16 or newer"),
        (lambda node: (node / "version").write_text(""), r"version unknown: install Node\.js 16"),
        (lambda node: (node / "omniboard").unlink(), r"Omniboard is not installed here: make omniboard"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy_in_one_line(node, tmp_path, monkeypatch, spoil, message):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    spoil(node)
    with pytest.raises(UserError, match=message) as caught:
        module.find_program(project=tmp_path)
    assert "\n" not in str(caught.value)


def test_ports_are_taken_from_9000_on_loopback_only():
    with module.open_port() as first, module.open_port() as second:
        assert first.getsockname()[0] == second.getsockname()[0] == "127.0.0.1"
        assert 9000 <= first.getsockname()[1] < second.getsockname()[1] < 9100


def test_a_taken_port_is_named_with_the_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} of 127\.0\.0\.1 \(Address already in use\).*--port"):
            module.open_port(port)


def test_the_address_reaches_omniboard_in_a_private_file_only(node, monkeypatch):
    monkeypatch.setenv("OSTINATO_MONGO_URL", URL)
    with module.Omniboard(URL, "runs") as omniboard:
        omniboard.wait()
        (note,) = starts(node)
        process = psutil.Process(note["pid"])
        assert SECRET not in " ".join(process.cmdline())
        assert SECRET not in " ".join(process.environ().values())
        assert note["config"] == {"runs": {"mongodbURI": URL, "path": "/runs"}}
        assert stat.S_IMODE(note["mode"]) == 0o600
        assert "omniboard_guard.js" in " ".join(note["arguments"])
        view = json.loads(note["environment"]["OSTINATO_VIEW"])
        assert view["database"] == "runs"
        assert list(view["columns"])[:5] == ["_id", "experiment_name", "duration", "status", "tags"]
        assert list(view["columns"])[5:] == list(COLUMNS)
        assert omniboard.url == f"http://127.0.0.1:{omniboard.port}/runs"


def test_the_process_has_its_own_session_and_no_input(node):
    with module.Omniboard(URL, "runs") as omniboard:
        omniboard.wait()
        (note,) = starts(node)
    assert note["session"] == note["pid"]
    assert note["stdin"]


def test_leaves_no_process_port_or_file(node, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(module.tempfile, "tempdir", str(scratch))
    with module.Omniboard(URL, "runs") as omniboard:
        omniboard.wait()
        assert list(scratch.iterdir())
    assert not psutil.pid_exists(starts(node)[0]["pid"])
    assert not list(scratch.iterdir())
    socket.create_server(("127.0.0.1", omniboard.port)).close()


def test_a_start_that_fails_shows_the_last_lines_and_leaves_nothing(node, tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    (node / "broken").touch()
    with pytest.raises(UserError, match="module not found: express"), module.Omniboard(URL, "runs") as omniboard:
        omniboard.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.fixture
def watched(node):
    """An Omniboard under watch with short waits, what the watch said, and when it asked for the database."""
    said: list[str] = []
    revived: list[float] = []

    def revive() -> str:
        revived.append(time.monotonic())
        return f"{URL}?after={len(revived)}"

    stop = threading.Event()
    with module.Omniboard(URL, "runs", check_every=0.05, patience=0.4) as omniboard:
        omniboard.wait()
        thread = threading.Thread(target=omniboard.watch, args=(stop, said.append, revive))
        thread.start()
        yield omniboard, said, revived
        stop.set()
        thread.join(120)
    assert not thread.is_alive()


def test_errors_shorter_than_the_patience_restart_nothing(watched, node):
    omniboard, said, revived = watched
    omniboard.patience = 60
    (node / "ill").touch()
    assert until(lambda: said)
    (node / "ill").unlink()
    assert until(lambda: len(said) == 2)
    assert said == ["The run browser does not answer: trying again", "The run browser answers again."]
    assert omniboard.restarts == 0
    assert revived


def test_errors_longer_than_the_patience_restart_it_under_the_same_address(watched, node):
    omniboard, said, _ = watched
    url = omniboard.url
    (node / "ill").touch()
    assert until(lambda: omniboard.restarts >= 2)
    (node / "ill").unlink()
    assert until(omniboard.healthy)
    assert until(lambda: len(said) == 2)
    assert omniboard.url == url
    first, second, *_ = starts(node)
    assert not psutil.pid_exists(first["pid"])
    assert second["config"]["runs"]["mongodbURI"].startswith(f"{URL}?after="), "the address the database came back with"


def test_why_the_database_cannot_be_started_again_is_said_once(node):
    (node / "ill").touch()
    said: list[str] = []
    stop = threading.Event()

    def revive() -> str:
        if len(starts(node)) >= 3:
            stop.set()
        raise UserError("the disk is full")

    with module.Omniboard(URL, "runs", check_every=0.05, patience=0.1) as omniboard:
        omniboard.watch(stop, said.append, revive)
    assert said == ["The run browser does not answer: the disk is full"]


def test_a_killed_process_is_started_again(watched, node):
    omniboard, *_ = watched
    os.kill(starts(node)[0]["pid"], signal.SIGKILL)
    assert until(lambda: omniboard.restarts and omniboard.healthy())


def test_one_that_ends_of_itself_is_started_again_before_the_next_check(node):
    stop = threading.Event()
    with module.Omniboard(URL, "runs", check_every=600.0) as omniboard:
        omniboard.wait()
        omniboard._started -= 600.0
        thread = threading.Thread(target=omniboard.watch, args=(stop, lambda line: None))
        thread.start()
        try:
            os.kill(starts(node)[0]["pid"], signal.SIGKILL)
            assert until(lambda: omniboard.restarts == 1 and omniboard.healthy(), 60)
        finally:
            stop.set()
            thread.join(120)


def test_a_frozen_process_is_ended_and_started_again(watched, node, monkeypatch):
    omniboard, *_ = watched
    healthy = omniboard.healthy
    os.kill(starts(node)[0]["pid"], signal.SIGSTOP)
    monkeypatch.setattr(omniboard, "healthy", lambda: healthy(timeout=60 if omniboard.restarts else 0.1))
    assert until(lambda: omniboard.restarts and omniboard.healthy())


def test_the_log_does_not_grow_without_end(watched, monkeypatch):
    omniboard, *_ = watched
    monkeypatch.setattr(module, "LOG_LIMIT", 1000)
    assert until(lambda: omniboard._log.stat().st_size > 500)
    assert until(lambda: omniboard._log.stat().st_size < 500)
