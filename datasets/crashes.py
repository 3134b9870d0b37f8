"""How a worker process died, as joblib tells it."""

from __future__ import annotations

import re

IN_CODE = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"})


def signals(error: BaseException) -> list[str]:
    """Names of the signals that ended workers, from the exception that a broken pool raises; sorted, may be empty.

    SIGTERM counts only where it stands alone: joblib ends the other workers of a broken pool with it.
    """
    found = set(re.findall(r"\b(SIG[A-Z]+)\(-\d+\)", str(error)))
    return sorted(found - {"SIGTERM"} or found)


def crashed(error: BaseException) -> bool:
    """Whether compiled code crashed, rather than somebody killing the worker."""
    return not IN_CODE.isdisjoint(signals(error))


def explain(error: BaseException) -> str:
    """What became of the worker, and what to do about it."""
    found = " and ".join(signals(error)) or "no known signal"
    if crashed(error):
        return f"a worker crashed in compiled code ({found}): run again; what is done is kept"
    if "SIGKILL" in signals(error):
        return (
            f"a worker was killed ({found}), most often for want of memory: run again with fewer jobs; "
            "what is done is kept"
        )
    return f"a worker ended early ({found}): run again; what is done is kept"
