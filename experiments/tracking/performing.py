"""A command inside Sacred's Run: its end is reported before Sacred learns of it, so that the log is complete."""

from __future__ import annotations

import contextlib
import pdb
from collections.abc import Callable, Mapping
from typing import Any

from experiments import distributed
from experiments.tracking import lifecycle, ranks


def perform(run: Any, call: Callable[[], Any], options: Mapping[str, Any], session: Any = None) -> tuple[Any, int]:
    """Let Sacred run a command.

    Args:
        run: Sacred's, which calls what it finds as `run.call`.
        call: does the command.
        options: of the command line.
        session: of the recorded run; None where nothing is recorded.

    Returns:
        What the command returned, and the exit code.
    """
    reported_errors: list[BaseException] = []

    def report(error: BaseException) -> None:
        reported_errors.append(error)
        distributed.report_failure(ranks.label(), "")
        lifecycle.report(error, session.note if session else None, full=options["--debug"])

    def reported() -> Any:
        try:
            with session.watched() if session else contextlib.nullcontext():
                return lifecycle.normalised(call)
        except BaseException as error:
            until.enter_context(lifecycle.ending())
            failed = ranks.failure_behind(error, session.handle.directory) if session else None
            report(failed or error)
            if failed is not None:
                raise failed from error
            raise

    run.call, until = reported, contextlib.ExitStack()  # until Sacred knows of a failure
    try:
        with until:
            run()
    except BaseException as error:
        if not reported_errors:
            report(error)
        if options["--pdb"] and not isinstance(error, KeyboardInterrupt):
            pdb.post_mortem(error.__traceback__)
        return None, lifecycle.exit_code(error)
    return run.result, lifecycle.SUCCESS
