"""Whose fault an error is: the connection's (a record is sent again) or the record's (it is set aside)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, InvalidOperation, OperationFailure

from experiments.errors import UserError
from experiments.tracking.masking import mask

BATCH = 1000  # documents inserted at once
DUPLICATE = 11000
WRONG_LOGIN, NOT_ALLOWED, NO_ROOM = frozenset({11, 18, 8000}), frozenset({13}), frozenset({14031})
# Codes of a server that is going down, not ready, without room, without enough others, or without our credentials.
NOT_CONTENT = WRONG_LOGIN | NOT_ALLOWED | NO_ROOM | {6, 7, 50, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13388}
NOT_CONTENT |= {13435, 13436}


class Rejected(ValueError):
    """A record that cannot be stored as it is."""


def is_outage(error: BaseException) -> bool:
    """Whether an error is the connection's or the server's: the same may work later."""
    if isinstance(error, BulkWriteError):
        problems = error.details.get("writeErrors", []) + error.details.get("writeConcernErrors", [])
        return any(problem.get("code") in NOT_CONTENT for problem in problems)
    if isinstance(error, OperationFailure) and not isinstance(error, ExecutionTimeout):
        return error.code in NOT_CONTENT
    return isinstance(error, ConnectionFailure | ExecutionTimeout | InvalidOperation | UserError)


def explained(error: BaseException) -> str:
    """What is wrong with a database, or with a run that is sent to it, in a phrase without secrets."""
    code = error.code if isinstance(error, OperationFailure) else None
    reason = reason_of(error)
    if code in WRONG_LOGIN:
        return f"authentication failed: the database rejects this user name or password ({reason})"
    if code in NOT_ALLOWED:
        return f"this user may not read and write runs in the database ({reason})"
    if code in NO_ROOM:
        return f"the database has no room left ({reason})"
    if not is_outage(error):
        return f"records cannot be sent ({type(error).__name__}: {reason})"
    return f"the database does not answer ({reason})"


def reason_of(error: BaseException) -> str:
    """What the driver says of an error, without secrets, timeouts and the state of its connections."""
    return mask(str(error)).split(" (configured timeouts")[0].split(", full error:")[0].partition("\n")[0][:200]


def insert_missing(collection: Collection, documents: Sequence[Mapping[str, Any]]) -> None:
    """Insert the documents that are missing; another process may do the same at this moment."""
    for first in range(0, len(documents), BATCH):
        try:
            collection.insert_many(documents[first : first + BATCH], ordered=False)
        except BulkWriteError as error:
            if not only_duplicates(error):
                raise


def only_duplicates(error: BulkWriteError) -> bool:
    """Whether all that a bulk write could not do had been done before."""
    problems = error.details.get("writeErrors", [])
    return bool(problems) and all(problem["code"] == DUPLICATE for problem in problems)
