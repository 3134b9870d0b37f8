"""On TCP nobody but the server gets anything that opens the database, and nobody without the password gets in."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from experiments.tracking import server_start
from experiments.tracking.endpoint import Endpoint, free_port, parse
from experiments.tracking.server import EmbeddedServer, status
from tests.experiments.tracking.serving import lease


class Stranger:
    """Another user's program at a port: keeps what it hears, and passes it on where it is told to."""

    def __init__(self, port: int = 0):
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self.heard = b""
        self.to: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._server.accept()
                onward = None if self.to is None else socket.create_connection(("127.0.0.1", self.to))
                threading.Thread(target=self._hear, args=(caller, onward), daemon=True).start()
                if onward is not None:
                    threading.Thread(target=self._answer, args=(onward, caller), daemon=True).start()

    def _hear(self, caller: socket.socket, onward: socket.socket | None) -> None:
        with contextlib.suppress(OSError):
            while said := caller.recv(65536):
                self.heard += said
                if onward is not None:
                    onward.sendall(said)

    def _answer(self, onward: socket.socket, caller: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := onward.recv(65536):
                caller.sendall(said)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    stranger = Stranger()
    yield stranger
    stranger.close()


def test_a_stranger_at_the_port_of_a_start_hears_nothing(home, stranger, monkeypatch):
    ports = [stranger.port, free_port()]
    monkeypatch.setattr(server_start, "free_port", lambda: ports.pop(0))
    with lease(listen="tcp") as url, MongoClient(url) as client:
        assert client.admin.command("ping")["ok"]
        assert status().port != stranger.port
    assert stranger.heard == b""


def test_a_stranger_at_the_port_of_a_server_that_died_learns_and_gets_nothing(home, eventually):
    """The client of a run, which was not told yet, connects to the old port again; the stranger passes all on."""
    ours = EmbeddedServer(listen="tcp")
    url = ours.acquire()
    password = url.split(":")[2].split("@")[0]
    old = status().port
    os.kill(status().pid, signal.SIGKILL)
    eventually(lambda: status() is None)
    stranger = Stranger(old)
    with MongoClient(ours.revive()) as client:
        client["x"]["y"].insert_one({"_id": 1})
        assert status().port != old
        stranger.to = status().port
        with MongoClient(url, serverSelectionTimeoutMS=3000) as late, pytest.raises(PyMongoError):
            late["x"]["y"].delete_one({"_id": 1})
        assert b"hello" in stranger.heard or b"isMaster" in stranger.heard
        assert password.encode() not in stranger.heard
        assert client["x"]["y"].find_one() == {"_id": 1}
    stranger.close()
    ours.release()


def test_nobody_without_the_password_gets_in_or_makes_a_first_user(home):
    with lease(listen="tcp"), MongoClient("127.0.0.1", status().port) as other:
        with pytest.raises(OperationFailure, match="auth"):
            other["admin"].command("createUser", "other", pwd="x", roles=["root"])
        with pytest.raises(OperationFailure, match="auth"):
            other["ostinato"]["runs"].find_one()


def test_every_start_has_a_password_of_its_own(home):
    urls = []
    for _ in range(2):
        with lease(listen="tcp") as url:
            urls.append(url.split("@")[0])
    assert urls[0] != urls[1]


def test_a_port_is_served_by_its_listener_alone(stranger):
    endpoint = Endpoint(port=stranger.port)
    assert endpoint.is_served_by(os.getpid())
    assert not endpoint.is_served_by(os.getppid())
    with pytest.raises(ConnectionRefusedError):
        Endpoint(port=free_port()).is_served_by(os.getpid())


@pytest.mark.parametrize("endpoint", [Endpoint(socket="/a b/ostinato-x/mongodb-27017.sock"), Endpoint(port=29000)])
def test_the_command_line_tells_the_endpoint(tmp_path, endpoint):
    assert parse(["mongod", "--dbpath", "x", "--quiet", *endpoint.prepare(tmp_path)]) == endpoint


def test_endpoints_of_others_are_no_endpoints():
    assert parse(["mongod"]) is None
    assert parse(["mongod", "--bind_ip", "127.0.0.1", "--port", "27017"]) is None, "it asks for no password"
    assert parse(["mongod", "--bind_ip", "0.0.0.0", "--port", "27017", "--keyFile", "x"]) is None
    assert parse(["mongod", "--bind_ip", "127.0.0.1", "--port", "x", "--nounixsocket", "--auth"]) is None
    theirs = ["--keyFile", "/etc/mongo.key", "--nounixsocket"]
    assert parse(["mongod", "--bind_ip", "127.0.0.1", "--port", "27017", *theirs]) is None, "it has another password"
