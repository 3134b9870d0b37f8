"""Secrets in what is stored or shown are masked, whichever texts, lists and dicts they stand in.

The URL of a database is looked for before anything parses it, since one that holds a secret often does not parse: a
user name or password that is not escaped may hold a slash, a space, a quote or a second `@`. Whatever stands between
`mongodb://` and the last `@` of a line is therefore taken for user name and password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

from pydantic import SecretStr

from datasets.text import printable_lines

HIDDEN = "***"
_REMEMBERED = 6  # letters; a shorter secret is not looked for elsewhere: it would blank ordinary words

# Whoever writes a text may write it so that a search takes for ever: no part of a pattern here looks far ahead again
# and again, and the last `@` is looked for from behind.
_SCHEME = re.compile(r"mongodb(?:\+srv)?://(?!\*\*\*@)", re.IGNORECASE)
_MONGODB = re.compile(r"mongodb(?:\+srv)?://", re.IGNORECASE)
_CUT_OFF = re.compile(r"(mongodb(?:\+srv)?://[^\s/:@,\[]+:)(?!\d{1,5}(?![\w%]))[^\s@]+", re.IGNORECASE)
_OPTION = re.compile(
    r"([?&;][\w.-]{0,60}(?:passw(?:or)?d|token|secret|mechanismproperties)[\w.-]{0,60}=)"
    r"(.*?)(?=[&;][\w.-]{1,60}=|[\"\n]|$)",
    re.IGNORECASE,
)
_WHOLE_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^:/@\n]*:(?!\d+/)([^\n]*)@", re.IGNORECASE)
_WORD = re.compile(r"[^\s\"]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://[^\s/:@\"]*:(?!\d{1,5}/)")
_URL_TOKEN = re.compile(r"https?://([^\s/:@\"]+)@")
_SECRET_WORD = (
    r"passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|session[_-]?token|credential"
)
_DATABASE_KEY = re.compile(r"(?:^|[._-])mongo(?:db)?_ur[il]$", re.IGNORECASE)
_SECRET_KEY = re.compile(_SECRET_WORD, re.IGNORECASE)
_TOKEN_KEY = re.compile(r"(?:^|[^A-Za-z])token$|(?:^|[a-z_.-])Token$|(?:^|[^A-Za-z])token[^A-Za-z]", re.IGNORECASE)
_OVERRIDE = re.compile(r"-{0,2}([\w.\[\]-]+)=(.+)", re.DOTALL)
_PINNED = re.compile(r"[A-Za-z0-9._-]+==\d[\w.!+-]*")  # a dependency and its version, whatever its name
_ASSIGNED = re.compile(
    rf"((?<![\w.-])[\w.-]*(?:(?:{_SECRET_WORD})\w{{0,60}}|(?<![A-Za-z])token)[\"']?\s*[=:]\s*[\"']?)([^\s\"',;&)\]}}]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?:Bearer|Basic)\s+([A-Za-z0-9+/_.=~-]{8,})")

Span = tuple[int, int, tuple[str, ...]]  # where a secret stands in a text, and what is masked elsewhere from then on


def mask(value: Any, known: set[str] | None = None, shortest: int = _REMEMBERED) -> Any:
    """`value` (text, or any nesting of lists and dicts) without the secrets in it; the shape is kept.

    Masked are: the login and the secret options of a database's URL, the secret of any `scheme://user:secret@…`,
    strings and numbers under keys that look like a password, token, secret or API key, and `key=value` or `key: value`
    with such a key inside a text.

    Args:
        value: what `storable` returned, or a text.
        known: secrets met before; they are masked wherever they turn up, and the ones found now are added.
        shortest: letters of a secret that is masked wherever it turns up; a shorter one only where it was found.
    """
    known, found = set() if known is None else known, set()
    masked = _masked(value, found)
    known |= {secret for secret in found if len(secret) >= shortest and secret != HIDDEN}
    return _without(masked, known) if known else masked


def for_terminal(text: object) -> str:
    """A message as a terminal may get it: without secrets, and with control characters written out."""
    return printable_lines(mask(str(text)))


def _masked(value: Any, found: set[str], key: str = "") -> Any:
    """A value without the secrets recognised in it; those to be remembered are added to `found`."""
    if isinstance(value, str):
        before = None
        while value != before:  # a secret may have hidden another one
            before = value
            for look in (_in_urls, _assigned):
                spans = list(look(value, key))
                texts = {text for *_, texts in spans for text in texts}
                found |= {form for text in texts for form in (text, unquote(text), unquote_plus(text))}
                value = _cut(value, spans)
        return value
    if isinstance(value, SecretStr):
        return SecretStr(_masked(value.get_secret_value(), found, "mongo_url"))
    if isinstance(value, list):
        return [_masked(item, found) for item in value]
    if isinstance(value, dict):
        return {
            _masked(name, found): _blank(item, found) if _is_secret(name, item) else _masked(item, found, name)
            for name, item in value.items()
        }
    return value


def _without(value: Any, known: set[str]) -> Any:
    if isinstance(value, str) and not _PINNED.fullmatch(value):
        for secret in known:
            if secret in value:
                value = value.replace(secret, HIDDEN)
    if isinstance(value, list):
        return [_without(item, known) for item in value]
    if isinstance(value, dict):
        return {_without(name, known): _without(item, known) for name, item in value.items()}
    return value


def _cut(text: str, spans: list[Span]) -> str:
    parts, place = [], 0
    for start, stop, _ in sorted(spans):
        if start > place or not parts:
            parts += [text[place:start], HIDDEN]
        place = max(place, stop)
    return "".join([*parts, text[place:]])


def _blank(value: Any, found: set[str]) -> Any:
    """What stands under the key of a secret, without any of its values."""
    if isinstance(value, dict):
        return {key: _blank(item, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank(item, found) for item in value]
    if value is None or isinstance(value, bool) or value == "":
        return value
    found.add(str(value))
    return HIDDEN


def _is_secret(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or value == "":
        return False
    return bool(_SECRET_KEY.search(key)) or (isinstance(value, str) and bool(_TOKEN_KEY.search(key)))


def _assigned(text: str, key: str) -> Iterator[Span]:
    if _PINNED.fullmatch(text):
        return
    if "Bearer" in text or "Basic" in text:
        yield from ((*match.span(1), ()) for match in _BEARER.finditer(text))
    if _DATABASE_KEY.search(key):
        yield from _login(text, 0)
    override = _OVERRIDE.fullmatch(text)
    if override and _is_secret(override[1], override[2]):
        yield *override.span(2), (override[2],)
    elif override and _DATABASE_KEY.search(override[1]):
        yield from _login(text, override.start(2)) if f"{HIDDEN}@" not in text else ()
    elif ("=" in text or ":" in text) and (_SECRET_KEY.search(text) or "token" in text.lower()):
        yield from ((*match.span(2), ()) for match in _ASSIGNED.finditer(text) if not _harmless(match))


def _in_urls(text: str, _: str) -> Iterator[Span]:
    if "://" not in text:
        return
    if "mongodb" in text.lower():
        place = 0
        for line in text.split("\n"):
            last = line.rfind("@")
            if scheme := _SCHEME.search(line, 0, last + 1):
                user, colon, password = line[scheme.end() : last].partition(":")
                yield place + scheme.end(), place + last, (password if colon else user,)
            place += len(line) + 1
        yield from ((match.end(1), match.end(), ()) for match in _CUT_OFF.finditer(text))
        for match in _OPTION.finditer(text):
            pairs = re.split(r",|%2C", match[2], flags=re.IGNORECASE)  # authMechanismProperties=NAME:value,NAME:value
            parts = [re.split(r":|%3A", pair, maxsplit=1, flags=re.IGNORECASE)[-1] for pair in pairs]
            yield *match.span(2), (match[2], *parts)
    elif found := _WHOLE_URL.match(text):
        yield *found.span(1), (found[1],)
    for word in _WORD.finditer(text):
        last = text.rfind("@", word.start(), word.end())
        if found := _URL.search(text, word.start(), last) if last >= 0 else None:
            yield found.end(), last, (text[found.end() : last],)
    yield from ((*match.span(1), ()) for match in _URL_TOKEN.finditer(text))


def _login(text: str, start: int) -> Iterator[Span]:
    """What stands under the key of a database's URL is taken for one, even where its `mongodb://` is missing."""
    last, scheme = text.rfind("@"), _MONGODB.match(text, start)
    if last >= start:
        begin = min(scheme.end(), last) if scheme else start
        yield begin, last, (text[begin:last].partition(":")[2],)


def _harmless(match: re.Match[str]) -> bool:
    """In running text `token: 3` is a count and `cls_token = nn.Parameter` is code; `password=3` is a password."""
    if _SECRET_KEY.search(match[1]):
        return False
    return not (re.fullmatch(r"[\w+/=~%-]{8,}", match[2]) and re.search(r"\d", match[2]) and re.search(r"\D", match[2]))
