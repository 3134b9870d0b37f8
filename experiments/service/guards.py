"""What every request has to pass before the application sees it.

A refused upload is answered at once, but most clients read the answer only when all is sent, and lose it where the
connection is closed before. So what they still send is received for a while and thrown away.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.service import problems
from experiments.service.hosts import PAGES, Names, check_fetch
from experiments.service.problems import ServiceError
from experiments.service.rates import Rates
from experiments.service.tokens import check_token
from experiments.settings import ServiceSettings

LONGEST_TARGET, LONGEST_HEADERS = 8 << 10, 16 << 10  # bytes
DRAIN = 10.0  # seconds in which what is still sent after the answer is received
ONCE = (
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"host",
    b"origin",
    b"transfer-encoding",
)
# The pages and their files hold no data: they are there without a token, which they ask for. So is whether the service
# works, for those who watch over it.
PUBLIC = (*PAGES, "/health")
PUBLIC_FILES = re.compile(r"/[a-z0-9_-]+\.(?:js|css|svg|ico)")
HEADERS = {  # of every response that does not set them itself
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Guards:
    """Refuses requests that are malformed, addressed to others, from others' pages, too many, or without the token.

    Args:
        app: That is guarded.
        service: Settings.
        port: That is listened at.
        token: That requests have to bear; None: none.
    """

    def __init__(self, app: ASGIApp, service: ServiceSettings, port: int, token: bytes | None) -> None:
        self._app, self._token = app, token
        self._names = Names(service, port)
        self._rates = Rates(service.rate) if service.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app = self._app
        try:
            self._check(scope)
        except ServiceError as error:
            app = problems.response(error.status, error.detail, error.headers)
        exchange = _Exchange(scope, receive, send)
        await app(scope, exchange.receive, exchange.send)
        await exchange.finish()

    def _check(self, scope: Scope) -> None:
        headers, method, path = dict(scope["headers"]), scope["method"], scope["path"]
        _check_form(scope, headers)
        host = self._names.check_host(_text(headers, b"host"))
        if b"origin" in headers:
            self._names.check_origin(_text(headers, b"origin"), host)
        fetch = [_text(headers, b"sec-fetch-" + what) for what in (b"site", b"mode", b"dest")]
        check_fetch(*fetch, method, path)
        if method in ("GET", "HEAD") and is_public(path):
            return
        if self._rates:
            self._rates.count(scope["client"][0] if scope["client"] else "")
        if self._token is not None:
            check_token([value for name, value in scope["headers"] if name == b"authorization"], self._token)


def is_public(path: str) -> bool:
    """Whether a path is there without a token, any number of times."""
    return path in PUBLIC or bool(PUBLIC_FILES.fullmatch(path))


def _check_form(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what two programs could understand in two ways, and what is longer than any use."""
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if target > LONGEST_TARGET:
        raise ServiceError(414, f"the address has {target:,} bytes, at most {LONGEST_TARGET:,} are taken")
    size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > LONGEST_HEADERS:
        raise ServiceError(431, f"the headers have {size:,} bytes, at most {LONGEST_HEADERS:,} are taken")
    counts = Counter(name for name, _ in scope["headers"])
    if twice := [name.decode() for name in ONCE if counts[name] > 1]:
        raise ServiceError(400, f"the header {twice[0]} was sent {counts[twice[0].encode()]} times: send it once")
    if b"transfer-encoding" in headers and b"content-length" in headers:
        raise ServiceError(400, "Transfer-Encoding and Content-Length: send one of them", {"Connection": "close"})


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


class _Exchange:
    """A request and its response, which ends when the request has ended too."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = dict(scope["headers"])
        self._receive, self._send = receive, send
        self._received = b"transfer-encoding" not in names and names.get(b"content-length", b"0") == b"0"
        self._waits = names.get(b"expect", b"").lower() == b"100-continue"  # to be asked for the body
        self._held: Message | None = None

    async def receive(self) -> Message:
        """The next part of the request."""
        self._waits = False
        message = await self._receive()
        self._received = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """A part of the response; its end is held back while the client still sends."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": self._headers(message)}
        elif not (self._received or self._waits or message.get("more_body", False)):
            self._held = {"type": "http.response.body", "body": b"", "more_body": False}
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Receive the rest of the request, and end the response."""
        if self._held is None:
            return
        try:
            async with asyncio.timeout(DRAIN):
                while not self._received:
                    await self.receive()
        except TimeoutError:
            pass
        await self._send(self._held)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        given = list(message.get("headers", []))
        names = {name.lower() for name, _ in given}
        if self._waits and not self._received and b"connection" not in names:  # whether a body follows is not known
            given.append((b"connection", b"close"))
        return [*given, *((name, value) for name, value in HEADERS.items() if name not in names)]
