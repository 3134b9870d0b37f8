"""Whose fault an error is: the connection's (a record is sent again) or the record's (it is set aside)."""

from __future__ import annotations

from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, InvalidOperation, OperationFailure

from experiments.errors import UserError

DUPLICATE = 11000
# Codes of a server that is going down, not ready, without room or without our credentials.
NOT_CONTENT = frozenset({6, 7, 13, 18, 50, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436, 14031})


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


def only_duplicates(error: BulkWriteError) -> bool:
    """Whether all that a bulk write could not do had been done before."""
    problems = error.details.get("writeErrors", [])
    return bool(problems) and all(problem["code"] == DUPLICATE for problem in problems)
