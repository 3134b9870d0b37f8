"""The page at `/`, to listen, and the schema for people at `/docs`; neither loads anything from another host."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response

FOLDER = Path(__file__).with_name("page")
SCRIPT = "text/javascript; charset=utf-8"
HTML = "text/html; charset=utf-8"
SCRIPTS = (
    *("clicks", "docs", "dom", "exports", "files", "lanes", "list", "main", "models", "player", "queue", "results"),
    *("service", "timeline", "token", "waveform"),
)
FILES: dict[str, tuple[str, str]] = {  # by address: the file, and what it is
    "/": ("index.html", HTML),
    "/docs": ("docs.html", HTML),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", SCRIPT) for name in SCRIPTS},
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "media-src blob:",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {  # besides those of every response, see guards.py
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # kept, and asked for again with what it was known by
}


def add_page(app: FastAPI) -> None:
    """Serve the page and its files, at the addresses of `FILES` and at no other."""
    for address, (name, kind) in FILES.items():
        endpoint = _endpoint((FOLDER / name).read_bytes(), kind)
        app.api_route(address, methods=["GET", "HEAD"], include_in_schema=False)(endpoint)


def _endpoint(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """Sends a file: compressed where the client takes that, and not at all where it has it already."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": tag, "Vary": "Accept-Encoding"}
    small = gzip.compress(content, mtime=0)

    async def _send(request: Request) -> Response:
        known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
        if tag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(small, headers={**headers, "ETag": f"W/{tag}", "Content-Encoding": "gzip"}, media_type=kind)
        return Response(content, headers=headers, media_type=kind)

    return _send
