"""Everything that knows Sacred, Lightning or MongoDB."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType


def _in_short(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a script is still importing is one line, as it is afterwards; the exit code is 130 all the same."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if Path(sys.argv[0]).match("ex_*.py"):  # not in a program or notebook that imports us
    sys.excepthook = _in_short
