"""The records of a run that a database refused for their content, in `rejected.jsonl` beside its journal."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from datasets.inside import open_inside
from experiments.tracking.journal import Record, parse

FILE_NAME = "rejected.jsonl"

log = logging.getLogger("ostinato.tracking")


class Rejects:
    """The records set aside so far; each is written down once."""

    def __init__(self, run_dir: Path):
        self._path = run_dir / FILE_NAME
        try:
            with open_inside(run_dir, FILE_NAME) as file:
                records = [parse(line) for line in file]  # a full disk may have left a torn line
        except OSError:
            records = []
        self._numbers = {record["seq"] for record in records if record is not None}

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, seq: int) -> bool:
        return seq in self._numbers

    def add(self, record: Record, reason: str) -> None:
        """Write a record down, with the reason; one that cannot be written is only logged."""
        if record["seq"] in self._numbers:
            return
        self._numbers.add(record["seq"])
        line = json.dumps({"reason": reason[:2000], **record}) + "\n"
        try:
            with open(self._path, "a", encoding="utf-8", opener=_no_link) as file:
                file.write(line)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
