"""Where the runs of a command go: a given database, this user's embedded server, or the run directory alone.

Nothing is contacted before it is needed: `resolve` is called when a run starts, never for `help` or `print_config`.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pymongo import MongoClient
from pymongo.database import Database

from experiments.errors import UserError
from experiments.tracking.masking import mask
from experiments.tracking.server import DATABASE, EmbeddedServer
from experiments.tracking.settings import TrackingSettings

log = logging.getLogger("ostinato.tracking")

VARIABLE, FILE_VARIABLE = "OSTINATO_MONGO_URL", "OSTINATO_MONGO_URL_FILE"
SYNC = "python ex_pretrain.py sync"
ESCAPES = "/ as %2F, : as %3A, @ as %40, ? as %3F, # as %23, % as %25, a space as %20"
_PART = re.compile(r"(?:[^/?#\[\]@:%\s]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"[^:@\s]+(?::\d+)?|\[[^\]]+\](?::\d+)?")
PATIENCE = {"serverSelectionTimeoutMS": 2000, "connectTimeoutMS": 2000, "socketTimeoutMS": 10000}
# A write counts when it is in the server's journal; one whose answer is lost is not repeated behind our back, since a
# server that was restarted meanwhile may have forgotten what came before it.
CERTAINTY = {"journal": True, "retryWrites": False, "retryReads": False}


@dataclass
class Location:
    """Where runs go.

    Attributes:
        kind: `given` (a URL), `embedded` (this user's server) or `none` (files alone).
        line: one line for the user.
        url: the database's URL, with its secret; None where there is no database.
    """

    kind: Literal["given", "embedded", "none"]
    line: str
    url: str | None = field(default=None, repr=False)
    server: EmbeddedServer | None = field(default=None, repr=False)

    @property
    def masked_url(self) -> str | None:
        """The URL as it may be shown and stored."""
        return mask(self.url) if self.url else None

    def connect(self) -> Database:
        """The database behind a new client that gives up after seconds; an embedded server that died is started again.

        Raises:
            UserError: there is no database, or the embedded server cannot be started.
        """
        if self.url is None:
            raise UserError(self.line)
        if self.server is not None:
            self.url = self.server.revive()
        return open_database(self.url)

    def release(self) -> None:
        """Give the embedded server back; the last one out stops it."""
        if self.server is not None:
            self.server.release()


def resolve(settings: TrackingSettings) -> Location:
    """Decide where runs go; starts the embedded server, or joins it, when no URL is given.

    A given URL is never replaced by the embedded server, not even when nobody answers there: the journal waits for it.

    Raises:
        UserError: a URL is not one, or `mongo="required"` and there is no database.
    """
    url = None if settings.mongo == "off" else given_url(settings)
    if url is not None:
        return Location("given", f"Runs go to {mask(url)}", url)
    if settings.mongo == "off":
        reason = "tracking.mongo=off"
    else:
        server = EmbeddedServer(listen=settings.listen, keep_server=settings.keep_server)
        try:
            url = server.acquire()
            return Location("embedded", f"Runs go to the embedded MongoDB in {server.directory}", url, server)
        except (UserError, OSError) as error:
            reason = str(error)
    line = f"No MongoDB here ({reason}). Runs are kept in {settings.runs_dir}/; "
    line += f"install requirements.txt or set {VARIABLE}, then: {SYNC}"
    if settings.mongo == "required":
        raise UserError(f"tracking.mongo=required, but there is no MongoDB: {reason}")
    return Location("none", line)


@contextmanager
def located(settings: TrackingSettings) -> Iterator[Location]:
    """`resolve`, and the release afterwards."""
    location = resolve(settings)
    try:
        yield location
    finally:
        location.release()


def given_url(settings: TrackingSettings) -> str | None:
    """The URL from `tracking.mongo_url`, the environment, or the private file it names; with a database in its path.

    Raises:
        UserError: it is not a MongoDB URL, or the file can be read by others.
    """
    if settings.mongo_url:
        url = with_database(settings.mongo_url.get_secret_value(), "tracking.mongo_url")
        if mask(url) != url:
            log.warning(
                "tracking.mongo_url holds a password, which other users of this machine can read in the list of "
                "processes. Set %s, or %s to a file of mode 0600, instead.",
                VARIABLE,
                FILE_VARIABLE,
            )
        return url
    if url := os.environ.get(VARIABLE):
        return with_database(url, VARIABLE)
    if name := os.environ.get(FILE_VARIABLE):
        return with_database(_read_private(Path(name).expanduser()), name)
    return None


def with_database(url: str, origin: str) -> str:
    """`url` with the default database in its path where it names none.

    Raises:
        UserError: it is not a MongoDB URL.
    """
    url = url.strip()
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise _refused(url, f"expected mongodb://host:27017/{DATABASE}", origin)
    if not is_escaped(url):
        raise _refused(url, f"user name and password must be escaped: {ESCAPES}", origin)
    try:
        parts = urlsplit(url)
        name = unquote(parts.path.lstrip("/"))
    except ValueError as error:
        raise _refused(url, f"not a URL ({error})", origin) from None
    if not parts.netloc:
        raise _refused(url, f"expected mongodb://host:27017/{DATABASE}", origin)
    if not all(map(_has_good_port, parts.netloc.rpartition("@")[2].split(","))):
        raise UserError(f"{origin}: the port of a host is no number from 1 to 65535")  # it may be a password
    if any(letter in name for letter in '/\\. "$'):
        raise _refused(url, f"{name!r} cannot be the name of a database", origin)
    return url if name else parts._replace(path=f"/{DATABASE}").geturl()


def open_database(url: str) -> Database:
    """The database that `url` names, behind a client that gives up after seconds. Nothing is contacted yet.

    Raises:
        UserError: the driver does not accept the URL.
    """
    try:
        client: MongoClient = MongoClient(url, appname="ostinato", maxPoolSize=4, **PATIENCE, **CERTAINTY)
    except Exception as error:
        raise _refused(url, str(error)) from None
    return client.get_default_database(DATABASE)


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


def _has_good_port(host: str) -> bool:
    """Whether the port of a host, if it names one, is a port."""
    port = re.search(r":([^:\]]*)$", host)
    return port is None or (re.fullmatch("[0-9]{1,5}", port[1]) is not None and 0 < int(port[1]) < 2**16)


def _refused(url: str, problem: str, origin: str = "") -> UserError:
    """The error of a URL that cannot be used, with nothing of its login in it, however short."""
    masked = mask({"mongo_url": url, "problem": problem}, shortest=3)
    return UserError(f"{origin}{'=' if origin else ''}{masked['mongo_url']}: {masked['problem']}")


def _read_private(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"{FILE_VARIABLE}={path}: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise UserError(f"{FILE_VARIABLE}={path}: others can read it (mode {stat.S_IMODE(mode):o}); chmod 600 {path}")
    return text
