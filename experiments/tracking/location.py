"""Where the runs of a command go: a given database, this user's embedded server, or the run directory alone.

Nothing is contacted before it is needed: `resolve` is called when a run starts, never for `help` or `print_config`.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from pymongo import MongoClient
from pymongo.database import Database

from experiments.errors import UserError
from experiments.tracking import urls
from experiments.tracking.masking import mask
from experiments.tracking.server import DATABASE, EmbeddedServer

log = logging.getLogger("ostinato.tracking")

VARIABLE, FILE_VARIABLE = "OSTINATO_MONGO_URL", "OSTINATO_MONGO_URL_FILE"
SYNC = "python ex_pretrain.py sync"
PATIENCE = {"serverSelectionTimeoutMS": 2000, "connectTimeoutMS": 2000, "socketTimeoutMS": 10000}
# A write counts when it is in the server's journal; one whose answer is lost is not repeated behind our back, since a
# server that was restarted meanwhile may have forgotten what came before it.
CERTAINTY = {"journal": True, "retryWrites": False, "retryReads": False}


class WhereSettings(Protocol):
    """The settings that decide: `experiments.tracking.settings.TrackingSettings` has them."""

    mongo_url: str | None
    mongo: Literal["auto", "required", "off"]
    listen: Literal["socket", "tcp"]
    keep_server: bool
    runs_dir: str


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


def resolve(settings: WhereSettings, home: Path | None = None) -> Location:
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
        server = EmbeddedServer(home, settings.listen, settings.keep_server)
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
def located(settings: WhereSettings, home: Path | None = None) -> Iterator[Location]:
    """`resolve`, and the release afterwards."""
    location = resolve(settings, home)
    try:
        yield location
    finally:
        location.release()


def given_url(settings: WhereSettings) -> str | None:
    """The URL from `tracking.mongo_url`, the environment, or the private file it names; with a database in its path.

    Raises:
        UserError: it is not a MongoDB URL, or the file can be read by others.
    """
    if settings.mongo_url:
        url = with_database(settings.mongo_url, "tracking.mongo_url")
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
    shown = f"{origin}={urls.hide_all(url)}"
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise UserError(f"{shown}: expected mongodb://host:27017/{DATABASE}")
    if not urls.is_escaped(url):
        raise UserError(f"{shown}: user name and password must be escaped: {urls.ESCAPES}")
    try:
        parts = urlsplit(url)
        name = unquote(parts.path.lstrip("/"))
    except ValueError as error:
        raise UserError(f"{shown}: not a URL ({mask(str(error), set(urls.secrets(url)))})") from None
    if not parts.netloc:
        raise UserError(f"{shown}: expected mongodb://host:27017/{DATABASE}")
    if any(letter in name for letter in '/\\. "$'):
        raise UserError(f"{shown}: {name!r} cannot be the name of a database")
    return url if name else parts._replace(path=f"/{DATABASE}").geturl()


def open_database(url: str) -> Database:
    """The database that `url` names, behind a client that gives up after seconds. Nothing is contacted yet.

    Raises:
        UserError: the driver does not accept the URL.
    """
    try:
        client: MongoClient = MongoClient(url, appname="ostinato", maxPoolSize=4, **PATIENCE, **CERTAINTY)
    except Exception as error:
        raise UserError(f"{urls.hide_all(url)}: {mask(str(error), set(urls.secrets(url)))}") from None
    return client.get_default_database(DATABASE)


def _read_private(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"{FILE_VARIABLE}={path}: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077 and os.name == "posix":
        raise UserError(f"{FILE_VARIABLE}={path}: others can read it (mode {stat.S_IMODE(mode):o}); chmod 600 {path}")
    return text
