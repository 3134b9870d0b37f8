"""Numbers of runs, drawn from the database so that nobody else gets them.

Runs count up from 1. The child runs of a sweep count down from -1: the run browser shows the highest number first, and
thousands of probes belong below the runs that people look for.
"""

from __future__ import annotations

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

COUNTERS = "ostinato.counters"
CHILD_COUNTER = "light runs"  # its name in databases that exist


def next_number(database: Database) -> int:
    """A run number above every number that was drawn and every number of a run there is."""
    return _drawn(database, "runs", 1, floor=_outermost(database, DESCENDING))


def next_child_numbers(database: Database, count: int) -> range:
    """Numbers below 0, below every one that was drawn and every number of a run there is, from the highest down."""
    last = _drawn(database, CHILD_COUNTER, count, floor=-_outermost(database, ASCENDING))
    return range(count - last - 1, -last - 1, -1)


def _outermost(database: Database, order: int) -> int:
    """The first number of a run in that order; 0 where there is none."""
    found = database["runs"].find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", order)])
    return int(found["_id"]) if found else 0


def _drawn(database: Database, name: str, count: int, floor: int) -> int:
    """The last of `count` numbers above 0, the floor, and all that were drawn under this name."""
    counters, least = database[COUNTERS], {"$max": {"value": max(0, floor)}}
    try:
        counters.update_one({"_id": name}, least, upsert=True)
    except DuplicateKeyError:  # made by another process at this moment
        counters.update_one({"_id": name}, least)
    drawn = counters.find_one_and_update(
        {"_id": name}, {"$inc": {"value": count}}, return_document=ReturnDocument.AFTER
    )
    return int(drawn["value"])
