"""A database of runs: its indexes, the columns of its table in Omniboard, and how certain its writes are."""

from __future__ import annotations

import hashlib
import logging

from bson import ObjectId
from pymongo import ASCENDING, WriteConcern
from pymongo.database import Database
from pymongo.errors import OperationFailure

from experiments.tracking import artifacts
from experiments.tracking.faults import insert_missing, is_outage

log = logging.getLogger("ostinato.tracking")

COLLECTION = "omniboard.custom.columns"

# Columns besides those of the table itself: title -> path in the run document. A title equal to a field of the document
# (experiment, metrics, status, ...) would hide that field. No metric columns: sorting by one reads every series of
# every run, sorting by a result is immediate.
COLUMNS = {
    "weights": "config.model.pretrained",
    "depth": "config.model.depth",
    "target": "info.target",
    "lr": "config.module.optimizer.lr",
    "batch": "config.datamodule.batch_size_train",
    "precision": "config.trainer.precision",
    "best epoch": "info.best.epoch",
    "val AUC": "result.val/roc_auc",
    "test AUC": "result.test/roc_auc",
    "test AP": "result.test/ap",
    "test accuracy": "result.test/accuracy",
    "probe AUC": "result.tagging/embeddings/roc_auc",
    "probe accuracy": "result.genre/embeddings/accuracy",
}

# What a browser that has not been here before shows, in this order, each with its width in pixels. The other columns
# (host, times, notes, sections of the settings) are a click away under "Show/Hide Columns".
VIEW = {"_id": 50, "experiment_name": 130, "duration": 80, "status": 110, "tags": 220} | dict.fromkeys(COLUMNS, 75)
VIEW |= {"precision": 85, "test accuracy": 85, "probe accuracy": 85}


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
    seed_columns(database)


def journaled(database: Database) -> Database:
    """The same database, whose writes are confirmed once they are in the server's journal."""
    return database.with_options(write_concern=WriteConcern(**database.write_concern.document | {"j": True}))


def seed_columns(database: Database) -> bool:
    """Give a new database its columns; one that ever had columns keeps the choice of its user.

    Removing all columns in Omniboard leaves an empty collection behind, so they do not come back. Processes that seed
    at the same moment write the same documents.

    Args:
        database: The runs' database.

    Returns:
        Whether the columns were written.

    Raises:
        pymongo.errors.PyMongoError: The database cannot be reached or written.
    """
    if COLLECTION in database.list_collection_names(filter={"name": COLLECTION}):
        return False
    rows = [
        {"_id": ObjectId(hashlib.sha256(title.encode()).digest()[:12]), "name": title, "config_path": path}
        for title, path in COLUMNS.items()
    ]
    insert_missing(database[COLLECTION], rows)
    return True
