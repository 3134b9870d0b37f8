"""The command `serve` as a user starts and ends it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.experiments.service.hostile_files import wav
from tests.experiments.service.raw_http import Reply, form, receive

ROOT = Path(__file__).parents[3]
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
PATIENCE = 120  # seconds
NAME = secrets.token_hex(16)  # of an upload, and of nothing else
ANOTHER = "203.0.113.7"  # of no machine, RFC 5737


def environment(folder: Path) -> dict[str, str]:
    for name in ("home", "cache", "temporary"):
        (folder / name).mkdir(exist_ok=True, parents=True)
    own = {"OSTINATO_HOME": "home", "OSTINATO_CACHE": "cache", "TMPDIR": "temporary"}
    return {**os.environ, **{variable: str(folder / name) for variable, name in own.items()}}


def start(folder: Path, words: Sequence[str]) -> psutil.Popen:
    command = [sys.executable, str(ROOT / "ex_transfer.py"), "serve", "with", "tracking.mongo=off", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return psutil.Popen(command, cwd=folder, env=environment(folder), **pipes, start_new_session=True)


# name -> words of the command, what it has to say
REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "nothing to serve": (["service.port=0"], ["nothing to serve is named", "service.models.tags=runs/KEY"]),
    "a model that does not exist": (
        ["service.models.tags=gone.ckpt", "service.port=0"],
        ["service.models.tags=gone.ckpt: ", "gone.ckpt"],
    ),
    "a port that is taken": (["service.models.tags={model}", "service.port={taken}"], ["127.0.0.1:{taken}", "in use"]),
    "all addresses without a token": (
        ["service.models.tags={model}", "service.host=0.0.0.0"],
        ["host=0.0.0.0", "service.token=@FILE", "service.open=True"],
    ),
    "the address of another machine": (
        ["service.models.tags={model}", f"service.host={ANOTHER}", "service.open=True", "service.port=0"],
        [f"{ANOTHER}:0 cannot be listened on", "service.host has to be an address of this machine"],
    ),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory, tagger) -> Iterator[dict[str, tuple[int, str, str, int]]]:
    """Exit status, what was printed and said, and the taken port, by name; all start at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = {
            name: start(tmp_path_factory.mktemp("refused"), [word.format(model=tagger, taken=port) for word in words])
            for name, (words, _) in REFUSED.items()
        }
        try:
            yield {name: (*_ended(process), port) for name, process in started.items()}
        finally:
            for process in started.values():
                process.poll() is None and process.kill()


def _ended(process: psutil.Popen) -> tuple[int, str, str]:
    printed, said = process.communicate(timeout=PATIENCE)
    return process.returncode, printed, said


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_said_in_a_sentence(refusals, name):
    code, printed, said, port = refusals[name]
    assert code == 1
    assert "http://" not in printed
    assert "Traceback" not in said
    for words in REFUSED[name][1]:
        assert words.format(taken=port) in said


@dataclass(frozen=True)
class Serving:
    """A service in a process of its own.

    Attributes:
        process: Its.
        port: That it listens at.
        folder: Where it runs.
        lines: What it says.
    """

    process: psutil.Popen
    port: int
    folder: Path
    lines: list[str]

    def begun(self, content: bytes, eventually: Callable) -> tuple[socket.socket, bytes]:
        """Send the first half of an upload, and wait until the service works on it; gives the rest."""
        body = form(content, f"{NAME}.wav")
        head = f"POST /v1/tags/predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(body)}\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        half = len(body) // 2
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + body[:half])
        eventually(lambda: "requests_in_flight 2.0" in self.metrics(), PATIENCE)  # and the one that asks
        return connection, body[half:]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        except ConnectionRefusedError:
            return False
        return True

    def journal(self) -> list[dict[str, Any]]:
        """Records of its run."""
        (file,) = self.folder.glob("runs/*/journal.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]


@contextmanager
def serving(folder: Path, model: Path, *words: str) -> Iterator[Serving]:
    process = start(folder, [f"service.models.tags={model}", "service.port=0", "service.decoders=1", *words])
    limit = threading.Timer(PATIENCE, process.kill)
    limit.start()
    said: list[str] = []
    listening = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
    listening.start()
    try:
        port = next(int(found[1]) for line in process.stdout if (found := ADDRESS.search(line)))
        yield Serving(process, port, folder, said)
    finally:
        limit.cancel()
        if process.poll() is None:
            process.kill()
        process.wait()
        listening.join(PATIENCE)


def test_a_stopped_service_answers_what_it_has_begun_and_keeps_its_counts_alone(tmp_path, tagger, eventually):
    content = wav()
    with serving(tmp_path, tagger) as service:
        assert service.port != 0
        family = service.process.children(recursive=True)
        connection, rest = service.begun(content, eventually)
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: not service.listens(), PATIENCE)
        connection.sendall(rest)
        reply: Reply = receive(connection)
        assert (reply.status, reply.json["model"]) == (200, "tags")
        assert service.process.wait(PATIENCE) == 0
        assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []
    records = service.journal()
    assert records[-1]["status"] == "COMPLETED"
    counted = {record["name"]: record["points"][-1][1] for record in records if record["kind"] == "metrics"}
    assert counted["service/requests"] == records[-1]["result"]["requests"] >= 2
    assert counted["service/audio_seconds"] == 1.0
    assert counted["service/failures"] == 0
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 3
    assert not [one for one in kept if NAME.encode() in one or content[44:1044] in one]
    assert NAME not in "".join(service.lines)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_second_ctrl_c_does_not_wait(tmp_path, tagger, eventually):
    with serving(tmp_path, tagger) as service:
        family = service.process.children(recursive=True)
        connection, _ = service.begun(wav(), eventually)
        service.process.send_signal(signal.SIGINT)
        eventually(lambda: not service.listens(), PATIENCE)
        assert service.process.is_running()
        service.process.send_signal(signal.SIGINT)
        reply = receive(connection)
        connection.close()
        assert (reply.status, reply.detail) == (503, "the service is being stopped")
        assert service.process.wait(PATIENCE) == 0
        assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []
    assert "Traceback" not in "".join(service.lines)
    assert service.journal()[-1]["status"] == "COMPLETED"
    assert list((tmp_path / "temporary").iterdir()) == []
