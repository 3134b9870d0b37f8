"""Requests and files that are made to do harm: none gets in, none stops the service, nothing of them is left."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest
import soundfile

from experiments.service import connections, guards, uploads
from tests.experiments.service.hostile_files import SAMPLES, damaged, playlists, wav
from tests.experiments.service.raw_http import TOKEN, chunked, form, head, post, post_form, receive, send

LIMIT = 400_000  # bytes of an upload
FOREIGN, LONG = "http://evil.example", "x" * 100_000

# name -> what is sent to a port, status of the answer (several where a part of the server may answer, 0: none)
REQUESTS: dict[str, tuple[Callable[[int], bytes], tuple[int, ...]]] = {
    "bytes of anything": (lambda port: bytes(range(256)) * 4 + b"\r\n\r\n", (400,)),
    "TLS": (lambda port: b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(200) + b"\r\n\r\n", (400,)),
    "HTTP/2": (lambda port: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    "HTTP/1.0 without Host": (lambda port: b"GET /v1/models HTTP/1.0\r\n\r\n", (400,)),
    "no Host": (lambda port: head("GET", "/v1/models", port, host=None), (400,)),
    "two Hosts": (lambda port: head("GET", "/v1/models", port, host=[f"127.0.0.1:{port}", "evil.example"]), (400,)),
    "absurd Host": (lambda port: head("GET", "/v1/models", port, host="<script>"), (400,)),
    "Host with a login": (lambda port: head("GET", "/v1/models", port, host=f"evil.example@127.0.0.1:{port}"), (400,)),
    "another Host": (lambda port: head("GET", "/v1/models", port, host=f"evil.example:{port}"), (421,)),
    "Host like ours": (lambda port: head("GET", "/v1/models", port, host=f"localhost.evil.example:{port}"), (421,)),
    "Host in other digits": (lambda port: head("GET", "/v1/models", port, host=f"2130706433:{port}"), (421,)),
    "Host of another port": (lambda port: head("GET", "/v1/models", port, host="127.0.0.1:1"), (421,)),
    "the address of another site": (lambda port: head("GET", f"{FOREIGN}/v1/models", port), (404,)),
    "a proxy wanted": (lambda port: head("CONNECT", "evil.example:443", port), (404, 405)),
    "TRACE": (lambda port: head("TRACE", "/v1/models", port), (405,)),
    "PUT": (lambda port: head("PUT", "/v1/tags/predict", port, content_length=0), (405,)),
    "DELETE": (lambda port: head("DELETE", "/v1/models", port), (405,)),
    "HEAD": (lambda port: head("HEAD", "/v1/tags/predict", port, connection="close"), (405,)),
    "a method of its own": (lambda port: head("EXEC", "/v1/models", port), (405,)),
    "length and chunks": (
        lambda port: post(port, b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n", transfer_encoding="chunked"),
        (400,),
    ),
    "chunks under another name": (lambda port: post(port, b"", transfer_encoding="xchunked"), (400,)),
    "chunks twice": (lambda port: head("POST", "/v1/tags/predict", port, transfer_encoding=["chunked"] * 2), (400,)),
    "two lengths": (lambda port: post(port, b"abcdef", content_length=[6, 7]), (400,)),
    "a negative length": (lambda port: post(port, b"abc", content_length=-3), (400,)),
    "a length that is none": (lambda port: post(port, b"abc", content_length="0x3"), (400,)),
    "a length of 5,000 digits": (lambda port: post(port, b"abc", content_length="1" * 5000), (400, 413)),
    "a length of 1 EB": (lambda port: post(port, b"abc", content_length=10**18), (413,)),
    "a chunk without a length": (
        lambda port: head("POST", "/v1/tags/predict", port, transfer_encoding="chunked") + b"zz\r\nabc\r\n0\r\n\r\n",
        (400,),
    ),
    "a space before the colon": (lambda port: head("GET", "/v1/models", port, **{"a ": "b"}), (400,)),
    "NUL in a header": (lambda port: head("GET", "/v1/models", port, a="b\0c"), (400,)),
    "a header of 100 kB": (lambda port: head("GET", "/v1/models", port, a=LONG), (400, 431)),
    "10,000 headers": (lambda port: head("GET", "/v1/models", port, a=["b"] * 10_000), (400, 431)),
    "an address of 12 kB": (lambda port: head("GET", f"/v1/models?{LONG[:12_000]}", port), (414,)),
    "an address of 100 kB": (lambda port: head("GET", f"/v1/models?{LONG}", port), (400, 414)),
    "3,000 options": (lambda port: post(port, b"abc", f"/v1/tags/predict?{'&top=3' * 3000}"), (400, 414)),
    "a path to a file of the system": (lambda port: head("GET", "/..%2f..%2fetc/passwd", port), (404,)),
    "the same with dots": (lambda port: head("GET", "/../../../../etc/passwd", port), (404,)),
    "the same from the page's files": (lambda port: head("GET", "/main.js/..%2f..%2fguards.py", port), (404,)),
    "the same with backslashes": (lambda port: head("GET", "/..%5c..%5cetc%5cpasswd", port), (404,)),
    "NUL in the path": (lambda port: head("GET", "/v1/models%00.js", port), (404,)),
    "bytes in the path that are no text": (lambda port: head("GET", "/%ff%fe", port), (404,)),
    "a line break in the path": (lambda port: head("GET", "/%0d%0aSet-Cookie:%20a=b", port), (404,)),
    "an upload from another page": (lambda port: post(port, b"abc", origin=FOREIGN), (403,)),
    "an upload from no page": (lambda port: post(port, b"abc", origin="null"), (403,)),
    "an upload from another port": (lambda port: post(port, b"abc", origin=f"http://127.0.0.1:{port + 1}"), (403,)),
    "an upload from two pages": (lambda port: post(port, b"", origin=[f"http://127.0.0.1:{port}", FOREIGN]), (400,)),
    "a question for another page": (
        lambda port: head("OPTIONS", "/v1/tags/predict", port, origin=FOREIGN, access_control_request_method="POST"),
        (403,),
    ),
    "a form of another site": (lambda port: post(port, b"abc", sec_fetch_site="cross-site"), (403,)),
    "a form of a neighbour": (lambda port: post(port, b"abc", sec_fetch_site="same-site"), (403,)),
    "the page in a frame": (
        lambda port: head(
            "GET", "/", port, sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe"
        ),
        (403,),
    ),
    "a WebSocket of another page": (
        lambda port: head("GET", "/v1/models", port, origin=FOREIGN, connection="upgrade", upgrade="websocket"),
        (403,),
    ),
    "a WebSocket": (
        lambda port: head("GET", "/nothing", port, connection="upgrade", upgrade="websocket", sec_websocket_version=13),
        (404,),
    ),
    "no token": (lambda port: post(port, b"abc", authorization=None), (401,)),
    "another token": (lambda port: post(port, b"abc", authorization="Bearer 0123456789abcdef-secres"), (401,)),
    "the beginning of the token": (lambda port: post(port, b"abc", authorization=f"Bearer {TOKEN[:-1]}"), (401,)),
    "an empty token": (lambda port: post(port, b"abc", authorization="Bearer "), (401,)),
    "an empty header": (lambda port: post(port, b"abc", authorization=""), (401,)),
    "a token of other letters": (lambda port: post(port, b"abc", authorization="Bearer \xe4\xf6\xfc"), (401,)),
    "the token as a password": (lambda port: post(port, b"abc", authorization=f"Basic {TOKEN}"), (401,)),
    "two tokens": (lambda port: post(port, b"abc", authorization=["Bearer a", f"Bearer {TOKEN}"]), (400,)),
    "the token in the address": (
        lambda port: post(port, b"abc", f"/v1/tags/predict?access_token={TOKEN}", authorization=None),
        (401,),
    ),
    "the schema without the token": (lambda port: head("GET", "/openapi.json", port, authorization=None), (401,)),
    "an empty body": (lambda port: post(port, b""), (422,)),
    "an empty file": (lambda port: post_form(port, form(b"")), (422,)),
    "a form without a boundary": (lambda port: post(port, form(b"abc"), content_type="multipart/form-data"), (400,)),
    "a boundary of 1 kB": (lambda port: post_form(port, form(b"abc", boundary=LONG[:1000]), LONG[:1000]), (400,)),
    "a form that is cut off": (lambda port: post_form(port, form(b"abc")[:-9]), (400,)),
    "a form of another boundary": (lambda port: post_form(port, form(b"abc"), "y"), (400,)),
    "a part's header of 50 kB": (lambda port: post_form(port, form(b"abc", LONG[:50_000])), (400,)),
    "5,000 headers of a part": (lambda port: post_form(port, form(b"abc", extra=b"a: b\r\n" * 5000)), (400, 422)),
    "5,000 parts": (lambda port: post_form(port, b"--x\r\n\r\n\r\n" * 5000 + b"--x--\r\n"), (400, 422)),
    "two files": (lambda port: post_form(port, form(b"abc")[:-7] + b"\r\n" + form(b"abc")), (422,)),
    "a file of another name": (lambda port: post_form(port, form(b"abc", field="file")), (422,)),
    "a form without parts": (lambda port: post_form(port, b"--x--\r\n"), (400, 422)),
    "a file in base64": (
        lambda port: post_form(port, form(b"abc", extra=b"Content-Transfer-Encoding: base64\r\n")),
        (415,),
    ),
    "a body that is packed": (lambda port: post(port, b"\x1f\x8b abc", content_encoding="gzip"), (415,)),
    "a body of another type": (lambda port: post(port, b"{}", content_type="application/json"), (415,)),
    "a type that is none": (lambda port: post(port, b"abc", content_type="audio"), (415,)),
    "a body too large": (lambda port: post(port, bytes(LIMIT + 1)), (413,)),
    "chunks too large": (
        lambda port: head("POST", "/v1/tags/predict", port, transfer_encoding="chunked") + chunked(bytes(LIMIT + 1)),
        (413,),
    ),
    "a form too large": (lambda port: post_form(port, form(bytes(LIMIT + 1))), (413,)),
    "much around a form": (lambda port: post_form(port, form(b"abc") + bytes(20_000)), (413,)),
    "too large, and asking first": (lambda port: post(port, b"", content_length=10**9, expect="100-continue"), (413,)),
}


GOOD = wav(data=SAMPLES * 3)
# What is odd and does no harm: the answer is that of the same file sent plainly.
HARMLESS: dict[str, Callable[[int], bytes]] = {
    "a path for a name": lambda port: post_form(port, form(GOOD, "../../../etc/cron.d/song.wav")),
    "an absolute path for a name": lambda port: post_form(port, form(GOOD, "/etc/passwd")),
    "a Windows path for a name": lambda port: post_form(port, form(GOOD, "C:\\\\autoexec.bat")),
    "NUL in the name": lambda port: post_form(port, form(GOOD, "song.mp3\0.wav")),
    "a command for a name": lambda port: post_form(port, form(GOOD, "$(reboot).wav; rm -rf *")),
    "a name of 3 kB": lambda port: post_form(port, form(GOOD, "x" * 3000)),
    "no suffix": lambda port: post_form(port, form(GOOD, "song")),
    "a wrong length of the part": lambda port: post_form(port, form(GOOD, extra=b"Content-Length: 3\r\n")),
    "a longer length of the part": lambda port: post_form(port, form(GOOD, extra=b"Content-Length: 99999999\r\n")),
    "a type of the part that is none": lambda port: post_form(port, form(GOOD, extra=b"Content-Type: ../x\r\n")),
    "text around the form": lambda port: post_form(port, b"\r\n" + form(GOOD) + b"and more"),
    "chunks of one byte": lambda port: (
        head("POST", "/v1/tags/predict", port, transfer_encoding="chunked") + chunked(GOOD, 1)
    ),
    "a wish to be asked": lambda port: post(port, GOOD, expect="100-continue"),
    "a wish for another protocol": lambda port: post(port, GOOD, connection="upgrade", upgrade="h2c"),
    "another client's address": lambda port: post(port, GOOD, x_forwarded_for="127.0.0.1", x_forwarded_host="evil"),
}


@pytest.fixture(scope="module")
def service(served, tagger) -> Iterator:
    """A service with a token and low limits, which works before and after; its first decoder takes seconds to start."""
    with served({"tags": tagger}, max_mb=LIMIT / 1e6, max_seconds=60.0, timeout=30.0, token=TOKEN) as service:
        before = send(service.port, post(service.port, GOOD))
        assert before.status == 200
        yield service
        assert send(service.port, post(service.port, GOOD)).body == before.body
        assert list(service.service.folder.iterdir()) == []
        children = psutil.Process().children(recursive=True)
        assert not [child.name() for child in children if child.name() == "ffmpeg"]


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_hostile_request_is_refused(service, kind):
    make, statuses = REQUESTS[kind]
    reply = send(service.port, make(service.port))
    assert reply.status in statuses, reply
    assert not [name for name in reply.headers if name.startswith("access-control") or name in ("set-cookie", "server")]
    assert TOKEN.encode() not in reply.body
    if reply.body:
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.detail


@pytest.mark.parametrize("kind", HARMLESS)
def test_an_odd_request_is_answered_as_any_other(service, kind):
    reply = send(service.port, HARMLESS[kind](service.port))
    assert (reply.status, reply.body) == (200, send(service.port, post(service.port, GOOD)).body)


@pytest.mark.parametrize("kind", damaged())
def test_a_hostile_file_is_refused(service, kind):
    name, content = damaged()[kind]
    reply = send(service.port, post_form(service.port, form(content, name)))
    assert reply.status in (413, 422), reply
    assert str(service.service.folder) not in reply.detail


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[str, list]]:
    """An address, and who came to it."""
    visitors: list = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def welcome() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                visitors.append(connection.recv(1000))
                connection.close()

        threading.Thread(target=welcome, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/song.mp3", visitors
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", playlists("", ""))
def test_a_file_makes_the_decoder_open_no_other(service, listener, tmp_path, kind):
    address, visitors = listener
    soundfile.write(tmp_path / "private.mp3", [0.1, -0.1] * 8000, 16_000)
    name, content = playlists(str(tmp_path / "private.mp3"), address)[kind]
    reply = send(service.port, post_form(service.port, form(content, name)))
    assert reply.status == 422, reply
    assert not visitors
    assert str(service.service.folder) not in reply.detail


def test_kinds_are_many():
    assert len(REQUESTS) + len(damaged()) + len(playlists("", "")) > 100


def test_a_head_that_does_not_come_is_not_waited_for(service, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    for first in (b"", b"GET /v1/models HTTP/1.1\r\nHost:"):
        with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
            connection.sendall(first)
            assert receive(connection).status == (408 if first else 0)
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:  # the next one on a connection
        connection.sendall(head("GET", "/health", service.port))
        assert receive(connection).status == 200
        connection.sendall(b"GET /health HTTP/1.1\r\na:")
        assert receive(connection).status == 408


def test_a_head_is_not_waited_for_letter_by_letter(service, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    letters = b"GET /health HTTP/1.1\r\nhost: " + b"a" * 1000
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
        for letter in letters:
            connection.sendall(bytes([letter]))
            if select.select([connection], [], [], 0.02)[0]:
                break
        assert receive(connection).status == 408


@pytest.mark.parametrize("rest", [b"", b"x" * 100], ids=["nothing more", "a few bytes"])
def test_an_upload_that_does_not_come_is_not_waited_for(service, monkeypatch, rest):
    monkeypatch.setattr(uploads, "PATIENCE", 0.5)
    monkeypatch.setattr(guards, "DRAIN", 0.5)
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
        connection.sendall(post(service.port, GOOD)[: -len(GOOD) // 2])
        for byte in rest:
            connection.sendall(bytes([byte]))
        reply = receive(connection)
    assert (reply.status, reply.detail) == (408, "the upload is too slow: less than 8,192 bytes came in 0.5 s")


def test_an_upload_that_is_cut_off_leaves_nothing(service, eventually):
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
        connection.sendall(post(service.port, GOOD)[: -len(GOOD) // 2])
        assert eventually(lambda: list(service.service.folder.iterdir()), 10)
    assert eventually(lambda: not list(service.service.folder.iterdir()), 10)


def test_a_client_that_sends_on_gets_its_answer(service):
    """With a connection that is closed at once, the answer would be lost while the client still sends."""
    for connection in ("close", "keep-alive"):
        request = post(service.port, bytes(30_000_000), connection=connection)
        assert send(service.port, [request[at : at + 100_000] for at in range(0, len(request), 100_000)]).status == 413
