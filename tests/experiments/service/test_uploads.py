"""Uploads: what is taken, what is refused, and that nothing is left."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.service import uploads
from experiments.service.forms import suffix_of
from experiments.service.problems import ServiceError
from experiments.service.uploads import received
from tests.experiments.service.raw_http import form

MAX = 1000
FORM = {"content-type": "multipart/form-data; boundary=x"}


def request(pieces: Sequence[bytes], headers: dict[str, str], cut: bool = False) -> Request:
    """A request whose body comes in pieces; `cut`: its client leaves before the end."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict:
        return messages.pop(0)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


def upload(folder: Path, pieces: Sequence[bytes], headers: dict[str, str] = {}, cut: bool = False) -> tuple[str, bytes]:  # noqa: B006
    """Suffix and content of what is received; the folder is empty afterwards."""

    async def take() -> tuple[str, bytes]:
        async with received(request(pieces, headers, cut), folder, MAX) as found:
            assert found.parent == folder
            return found.suffix, found.read_bytes()

    try:
        return asyncio.run(take())
    finally:
        assert list(folder.iterdir()) == []


def refused(folder: Path, *arguments, **more) -> tuple[int, str]:
    with pytest.raises(ServiceError) as error:
        upload(folder, *arguments, **more)
    return error.value.status, error.value.detail


def status_of(folder: Path, pieces: Sequence[bytes]) -> int:
    """Of the refusal of a form; 200: it is taken."""
    try:
        upload(folder, pieces, FORM)
    except ServiceError as error:
        return error.status
    return 200


def pieces_of(body: bytes, places: Sequence[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:stop] for start, stop in itertools.pairwise(cuts)]


@settings(max_examples=200)
@given(
    st.binary(min_size=1, max_size=300) | st.text("-x\r\n", min_size=1, max_size=99).map(str.encode),
    st.lists(st.integers(0, 600), max_size=9),
)
def test_a_form_and_a_body_give_the_same_however_they_come(tmp_path_factory, content, places):
    folder = tmp_path_factory.mktemp("uploads")
    assert upload(folder, pieces_of(content, places)) == ("", content)
    if b"\r\n--x" not in content and not content.startswith(b"--x"):
        assert upload(folder, pieces_of(form(content), places), FORM) == (".wav", content)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=3))
def test_any_bytes_are_a_form_or_refused(tmp_path_factory, content, places):
    folder = tmp_path_factory.mktemp("uploads")
    whole = form(b"music")
    for body in (content, whole[: len(content)] + content, content + whole):
        assert status_of(folder, pieces_of(body, places)) in (200, 400, 413, 415, 422)


@pytest.mark.parametrize(
    ("name", "content_type", "suffix"),
    [
        ("song.mp3", "", ".mp3"),
        ("Song.FLAC", "audio/mpeg", ".flac"),
        ("../../etc/song.wav", "", ".wav"),
        ("/etc/passwd", "", ""),
        ("song.mp3/", "", ".mp3"),
        ("song.exe", "audio/ogg", ".ogg"),
        ("song", "audio/mpeg", ".mp3"),
        ("", "audio/x-wav", ".wav"),
        ("", "audio/flac; rate=8000", ".flac"),
        ("", "audio/mp4", ".mp4"),
        ("", "video/webm", ".webm"),
        ("", "application/octet-stream", ""),
        ("", "audio/../../x", ""),
        ("", "audio/", ""),
        ("song.mp3\0", "", ""),
        ("song.m3u8", "", ""),
        (".mp3", "", ""),
    ],
)
def test_suffixes(name, content_type, suffix):
    assert suffix_of(name, content_type) == suffix


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b"", (422, "empty file: 0 bytes")),
        ({}, b"a" * (MAX + 1), (413, "the upload has more bytes than that, at most 1,000 are taken")),
        ({"content-length": str(MAX + 1)}, b"", (413, "the upload has 1,001 bytes, at most 1,000 are taken")),
        ({"content-length": "-1"}, b"a", (400, "is no number of bytes")),
        ({"content-type": "text/plain"}, b"a", (415, "expected is multipart/form-data, audio/* or application/octet")),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a", (415, "curl -F audio=@song.mp3 ADDRESS")),
        ({"content-type": "multipart/mixed; boundary=x"}, b"a", (415, "expected is multipart/form-data")),
        ({"content-encoding": "gzip"}, b"a", (415, "send the file as it is")),
        ({"content-encoding": "br, gzip"}, b"a", (415, "send the file as it is")),
        ({"content-type": "multipart/form-data"}, b"a", (400, "the form has no boundary")),
        (FORM, b"", (400, "its last boundary is missing")),
        (FORM, b"--x", (400, "its last boundary is missing")),
        (FORM, form(b"abc")[:-5], (400, "its last boundary is missing")),
        (FORM, form(b""), (422, "empty file: 0 bytes")),
        (FORM, form(b"a" * (MAX + 1)), (413, "more bytes than that")),
        (FORM, form(b"a", field="file"), (422, "the form has a part 'file', expected is 'audio'")),
        (FORM, form(b"a")[:-7] + b"\r\n" + form(b"b"), (422, "the form has several parts")),
        (FORM, form(b"a", extra=b"a: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\nk: l\r\nm: n\r\no: p\r\n"), (400, "damaged")),
        (FORM, form(b"a", extra=b"a: " + b"b" * 5000 + b"\r\n"), (400, "the form is damaged")),
        (FORM, form(b"a", extra=b"a: b\r\nA: c\r\n"), (400, "the header 'a' twice")),
        (FORM, form(b"a", extra=b"Content-Transfer-Encoding: base64\r\n"), (415, "Content-Transfer-Encoding")),
        (
            FORM,
            b'--x\r\nContent-Disposition: form-data; name="audio"\r\n\r\nsong.mp3\r\n--x--\r\n',
            (422, "is a text, not a file: curl -F audio=@song.mp3 ADDRESS, with @"),
        ),
        (FORM, b"--x\r\n\r\nabc\r\n--x--\r\n", (422, "the form has a part ''")),
    ],
)
def test_what_is_refused(tmp_path, headers, body, expected):
    status, detail = refused(tmp_path, [body] if body else [], headers)
    assert (status, expected[1] in detail) == (expected[0], True), detail


def test_a_client_that_leaves(tmp_path):
    assert refused(tmp_path, [b"abc"], cut=True)[0] == 400
    assert refused(tmp_path, [form(b"abc")[:-3]], FORM, cut=True)[0] == 400


def test_a_file_without_a_name_but_with_a_type(tmp_path):
    body = (
        form(b"abc")
        .replace(b'; filename="song.wav"', b"")
        .replace(b"\r\n\r\n", b"\r\nContent-Type: audio/flac\r\n\r\n", 1)
    )
    assert upload(tmp_path, [body], FORM) == (".flac", b"abc")


def test_an_upload_that_is_cancelled_leaves_nothing(tmp_path):
    """While it comes, and while it is worked on."""

    async def cancelled(whole: bool) -> int:
        lasting = request([b"abc"], {})
        if not whole:
            receive = lasting._receive

            async def first_alone() -> dict:
                message = await receive()
                if not message["body"]:
                    await asyncio.sleep(60)
                return message

            lasting._receive = first_alone

        async def take() -> None:
            async with received(lasting, tmp_path, MAX):
                await asyncio.sleep(60)

        task = asyncio.create_task(take())
        await asyncio.sleep(0.05)
        there = len(list(tmp_path.iterdir()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return there - len(list(tmp_path.iterdir()))

    assert [asyncio.run(cancelled(whole)) for whole in (False, True)] == [1, 1]


def test_a_full_disk(tmp_path, monkeypatch):
    opened = Path.open

    def on_a_full_disk(path: Path, *how, **more):
        opened(path, *how, **more).close()
        return opened(Path("/dev/full"), "wb", buffering=2)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    for pieces in ([b"abc"], [b"a"]):  # found out while it is written, and at the end
        assert refused(tmp_path, pieces) == (
            503,
            "the service cannot keep the upload while it reads it (No space left on device)",
        )


def test_no_folder_any_more(tmp_path):
    folder = tmp_path / "uploads"
    with pytest.raises(ServiceError) as error:
        asyncio.run(received(request([b"a"], {}), folder, MAX).__aenter__())
    assert (error.value.status, "has to be started again" in error.value.detail) == (503, True)


def test_memory_does_not_hold_an_upload(tmp_path, monkeypatch):
    """What is handed on is written, piece by piece."""
    sizes = []
    monkeypatch.setattr(uploads, "BUFFER", 1000)

    async def take() -> None:
        async def body():
            for _ in range(100):
                sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
                yield bytes(1000)

        whole = request([], {})
        whole.stream = body
        async with received(whole, tmp_path, 10**6):
            pass

    asyncio.run(take())
    assert [size // 1000 for size in sizes[1:]] == list(range(99))  # one is in the buffer
