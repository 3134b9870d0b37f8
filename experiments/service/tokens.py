"""The token that requests have to bear."""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.messages import say
from experiments.service.problems import ServiceError
from experiments.settings import ServiceSettings
from experiments.settings.service import SHORTEST_TOKEN

LONGEST_FILE = 4096  # bytes
CHALLENGE = {"WWW-Authenticate": "Bearer"}
_SENDABLE = re.compile(rb"[!-~]+")  # in a header, by every client
_BEARER = re.compile(rb"bearer +([!-~\x80-\xff]+)", re.IGNORECASE)


def token_of(service: ServiceSettings) -> bytes | None:
    """The token of the settings, from its file where they name one; None where there is none.

    Raises:
        UserError: The file cannot be read or is empty, or the token is too short or holds what no header takes.
    """
    if service.token is None:
        return None
    given = service.token.get_secret_value()
    where, token = "service.token", given.encode()
    if given.startswith("@"):
        where = f"service.token=@FILE, {given[1:]}"
        token = _content(Path(given[1:]).expanduser(), where)
    else:
        say("service.token: other users of this machine can read it in the list of processes; give service.token=@FILE")
    if not _SENDABLE.fullmatch(token):
        raise UserError(f"{where}: a token consists of letters, digits and signs of ASCII, without spaces or new lines")
    if len(token) < SHORTEST_TOKEN:
        raise UserError(
            f"{where}: a token of {len(token)} characters can be guessed, at least {SHORTEST_TOKEN} are needed, as "
            "`openssl rand -hex 32` gives"
        )
    return token


def check_token(headers: Sequence[bytes], token: bytes) -> None:
    """Make sure that a request bears the token; how long that takes says nothing about the token but its length.

    Args:
        headers: All its headers `Authorization`.
        token: Expected.

    Raises:
        ServiceError: It does not.
    """
    if not headers:
        raise ServiceError(401, "this service asks for a token: Authorization: Bearer TOKEN", CHALLENGE)
    found = _BEARER.fullmatch(headers[0]) if len(headers) == 1 else None
    if not found or not hmac.compare_digest(found[1], token):
        raise ServiceError(401, "the token is not the one of this service", CHALLENGE)


def with_token(schema: dict[str, Any], service: ServiceSettings, public: Sequence[str]) -> dict[str, Any]:
    """A schema that says for which paths a token is needed, where one is; `public` need none."""
    if service.token is not None:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        for path in set(public) & set(schema["paths"]):
            for operation in schema["paths"][path].values():
                operation["security"] = []
    return schema


def _content(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror})") from None
    if len(content) > LONGEST_FILE:
        raise UserError(f"{where}: more than {LONGEST_FILE:,} bytes; it has to hold the token and nothing else")
    if not (token := content.strip()):
        raise UserError(f"{where}: the file is empty; it has to hold the token")
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        say(f"{path}: other users of this machine can read the token; chmod 600 {path}")
    return token
