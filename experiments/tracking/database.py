"""A database of runs: its indexes, and how certain its writes are."""

from __future__ import annotations

import logging

from pymongo import ASCENDING, WriteConcern
from pymongo.database import Database
from pymongo.errors import OperationFailure

from experiments.tracking import artifacts, columns
from experiments.tracking.faults import is_outage

log = logging.getLogger("ostinato.tracking")


def prepare(database: Database) -> None:
    """Indexes, and the run browser's columns in a new database. One that refuses an index is used without it."""
    try:
        database["runs"].create_index([("ostinato.key", ASCENDING)], unique=True, sparse=True)
        database["runs"].create_index([("artifacts.file_id", ASCENDING)])
        database["metrics"].create_index([("run_id", ASCENDING), ("name", ASCENDING)], unique=True)
        artifacts.ensure_indexes(database)
    except OperationFailure as error:
        if is_outage(error):
            raise
        log.warning("database %s: an index could not be made: %s", database.name, error)
    columns.seed(database)


def journaled(database: Database) -> Database:
    """The same database, whose writes are confirmed once they are in the server's journal."""
    return database.with_options(write_concern=WriteConcern(**database.write_concern.document | {"j": True}))
