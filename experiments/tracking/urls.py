"""The secrets in the URL of a database, found before anything parses it: one that holds a secret often does not parse.

A user name or password that is not escaped may hold a slash, a space, a quote or a second `@`. Whatever stands between
`mongodb://` and the last `@` of the line is therefore taken for user name and password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"
ESCAPES = "/ as %2F, : as %3A, @ as %40, ? as %3F, # as %23, % as %25, a space as %20"

# Whoever writes a text may write it so that a search takes for ever: no part of a pattern here looks far ahead again
# and again, and the last `@` is looked for from behind.
_SCHEME = re.compile(r"mongodb(?:\+srv)?://(?!\*\*\*@)", re.IGNORECASE)
_CUT_OFF = re.compile(r"(mongodb(?:\+srv)?://[^\s/:@,\[]+:)(?!\d{1,5}(?![\w%]))[^\s@]+", re.IGNORECASE)
_OPTION = re.compile(
    r"([?&;][\w.-]{0,60}(?:passw(?:or)?d|token|secret|mechanismproperties)[\w.-]{0,60}=)"
    r"(.*?)(?=[&;][\w.-]{1,60}=|[\"\n]|$)",
    re.IGNORECASE,
)
_OTHER = re.compile(r"([a-z][a-z0-9+.-]*://)([^:/@\n]*):(?!\d+/)([^\n]*)@", re.IGNORECASE)
_PART = re.compile(r"(?:[^/?#\[\]@:%\s]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"[^:@\s]+(?::\d+)?|\[[^\]]+\](?::\d+)?")


def hide(text: str) -> str:
    """A text without the logins and secret options of the database URLs in it, or of any URL that it begins with."""
    if "://" not in text:
        return text
    if "mongodb" in text.lower():
        text = "\n".join(map(_without_login, text.split("\n")))
        text = _CUT_OFF.sub(rf"\1{HIDDEN}", text)
        return _OPTION.sub(rf"\1{HIDDEN}", text)
    found = _OTHER.match(text)
    return text if found is None else f"{found[1]}{found[2]}:{HIDDEN}{text[found.end(3) :]}"


def hide_all(text: str) -> str:
    """What is meant to be a URL, without all that stands before its last `@`, be it a URL or not."""
    shown = hide(text)
    _, at, host = shown.rpartition("@")
    return shown if not at or f"{HIDDEN}@" in shown else f"{HIDDEN}@{host}"


def secrets(text: str) -> Iterator[str]:
    """The passwords and secret options of the URLs in a text, as they stand there and unescaped; none of 2 letters."""
    if "://" not in text:
        return
    if "mongodb" not in text.lower():
        if found := _OTHER.match(text):
            yield from _spellings(found[3])
        return
    for line in text.split("\n"):
        if login := _login_in(line):
            user, colon, password = line[login].partition(":")
            yield from _spellings(password if colon else user)
    for match in _OPTION.finditer(text):
        yield from _spellings(match[2])
        for pair in re.split(r",|%2C", match[2], flags=re.IGNORECASE):  # authMechanismProperties=NAME:value,NAME:value
            yield from _spellings(re.split(r":|%3A", pair, maxsplit=1, flags=re.IGNORECASE)[-1])


def is_escaped(url: str) -> bool:
    """Whether every reader of a URL takes the same for its user name and password."""
    rest = url.partition("://")[2]
    authority, tail = re.match(r"([^/?]*)(.*)", rest, re.DOTALL).groups()
    path, _, options = tail.partition("?")
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    if "@" in path or not (_PART.fullmatch(user) and _PART.fullmatch(password)):
        return False
    if "@" not in options:
        return True
    named = all(re.fullmatch(r"\w+=.*", option) for option in re.split("[&;]", options))
    return named and all(_HOST.fullmatch(host) for host in hosts.split(","))


def _login_in(line: str) -> slice | None:
    """Where in a line user name and password stand."""
    last = line.rfind("@")
    scheme = _SCHEME.search(line, 0, last + 1)
    return slice(scheme.end(), last) if scheme else None


def _without_login(line: str) -> str:
    login = _login_in(line)
    return line if login is None else line[: login.start] + HIDDEN + line[login.stop :]


def _spellings(secret: str) -> set[str]:
    return {text for text in (secret, unquote(secret), unquote_plus(secret)) if len(text) > 2}
