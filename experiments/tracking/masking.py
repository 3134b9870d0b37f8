"""Secrets in what is stored or shown are masked, whichever texts, lists and dicts they stand in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from datasets.text import printable_lines
from experiments.tracking import urls
from experiments.tracking.urls import HIDDEN

_REMEMBERED = 6  # a shorter secret is not looked for elsewhere: it would blank ordinary words
# As in `urls`, no part of a pattern looks far ahead again and again.
_WORD = re.compile(r"[^\s\"]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://[^\s/:@\"]*:(?!\d{1,5}/)")
_URL_TOKEN = re.compile(r"(https?://)([^\s/:@\"]+)@")
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
_BEARER = re.compile(r"(\b(?:Bearer|Basic)\s+)([A-Za-z0-9+/_.=~-]{8,})")


def mask(value: Any, known: set[str] | None = None) -> Any:
    """`value` (text, or any nesting of lists and dicts) without the secrets in it; the shape is kept.

    Masked are: the login and the secret options of a database's URL (before anything else looks at the text, since such
    a URL need not parse), the secret of any `scheme://user:secret@…`, strings and numbers under keys that look like a
    password, token, secret or API key, and `key=value` or `key: value` with such a key inside a text.

    Args:
        value: what `storable` returned, or a text.
        known: secrets met before; they are masked wherever they turn up, and the ones found now are added.
    """
    known = set() if known is None else known
    found = _collect(value, known)
    known |= found
    return _hide(value, known)


def for_terminal(text: object) -> str:
    """A message as a terminal may get it: without secrets, and with control characters written out."""
    return printable_lines(mask(str(text)))


def _remember(secret: Any, found: set[str]) -> None:
    text = str(secret)
    if len(text) >= _REMEMBERED and text != HIDDEN:
        found.add(text)


def _secret_key(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or value == "":
        return False
    return bool(_SECRET_KEY.search(key)) or (isinstance(value, str) and bool(_TOKEN_KEY.search(key)))


def _collect(value: Any, known: set[str]) -> set[str]:
    """The secrets that stand under a telling key or in a URL anywhere in `value`."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                if _secret_key(key, inner):
                    for leaf in _leaves(inner):
                        _remember(leaf, found)
                elif _DATABASE_KEY.search(key) and isinstance(inner, str):
                    _remember(_login(inner), found)
                stack.append(inner)
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str) and not _PINNED.fullmatch(item):
            for secret in urls.secrets(item):
                _remember(secret, found)
            if "://" in item:
                for word in _WORD.findall(urls.hide(item)):
                    if password := _password_in(word):
                        _remember(word[password], found)
            override = _OVERRIDE.fullmatch(item)
            if override and _secret_key(override[1], override[2]):
                _remember(override[2], found)
    return found - known


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool) and value != "":
        yield value


def _may_assign(text: str) -> bool:
    return ("=" in text or ":" in text) and bool(_SECRET_KEY.search(text) or "token" in text.lower())


def _hide(value: Any, known: set[str]) -> Any:
    if isinstance(value, str):
        return _hide_text(value, known)
    if isinstance(value, list):
        return [_hide(item, known) for item in value]
    if isinstance(value, dict):
        return {
            _hide_text(key, known): _blank(item) if _secret_key(key, item) else _hide(_without_login(key, item), known)
            for key, item in value.items()
        }
    return value


def _without_login(key: str, value: Any) -> Any:
    """What stands under the key of a database's URL is taken for one, even where its `mongodb://` is missing."""
    return urls.hide_all(value) if isinstance(value, str) and _DATABASE_KEY.search(key) else value


def _login(url: str) -> str:
    """The password of what is meant to be a URL."""
    login = url.partition("://")[2] or url
    return login.rpartition("@")[0].partition(":")[2]


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return value if value is None or isinstance(value, bool) or value == "" else HIDDEN


def _hide_text(text: str, known: set[str]) -> str:
    if _PINNED.fullmatch(text):
        return text
    text = urls.hide(text)
    if "://" in text and "@" in text:
        text = _WORD.sub(lambda word: _without_password(word[0]), text)
        text = _URL_TOKEN.sub(rf"\1{HIDDEN}@", text)
    override = _OVERRIDE.fullmatch(text)
    if override and _secret_key(override[1], override[2]):
        text = text[: override.start(2)] + HIDDEN
    elif override and _DATABASE_KEY.search(override[1]):
        text = text[: override.start(2)] + urls.hide_all(override[2])
    elif _may_assign(text):
        text = _ASSIGNED.sub(lambda m: m[0] if _harmless(m) else m[1] + HIDDEN, text)
    if "Bearer" in text or "Basic" in text:
        text = _BEARER.sub(rf"\1{HIDDEN}", text)
    for secret in known:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def _password_in(word: str) -> slice | None:
    """Where in a word without spaces the password of a URL stands: up to the last `@`."""
    last = word.rfind("@")
    found = _URL.search(word, 0, last)
    return slice(found.end(), last) if found else None


def _without_password(word: str) -> str:
    password = _password_in(word)
    return word if password is None else word[: password.start] + HIDDEN + word[password.stop :]


def _harmless(match: re.Match[str]) -> bool:
    """In running text `token: 3` is a count and `cls_token = nn.Parameter` is code; `password=3` is a password."""
    if _SECRET_KEY.search(match[1]):
        return False
    return not (re.fullmatch(r"[\w+/=~%-]{8,}", match[2]) and re.search(r"\d", match[2]) and re.search(r"\D", match[2]))
