"""A folder of predictions that is written file by file, and gone on with after a stop.

`predictions.jsonl` gets a line a file and is what counts. Its first line says what the predictions are made with; of
anything else, nothing is added to the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from datasets.file_locks import close_lock, open_lock, wait_exclusive
from experiments.errors import UserError

LINES = "predictions.jsonl"
LOCK = ".predictions.lock"
PRODUCER = "made"  # of the first line: what the predictions are made with
STAMP = "file"  # of a line: size and time of the last change of its file


class Resumable:
    """A folder of predictions, open for more of them.

    Args:
        folder: Made if need be; goes on with what is there.
        producer: What the predictions are made with; plain values.
        overwrite: Begin anew even where predictions were made otherwise.

    Attributes:
        done: Files that are through, each with what was given as its stamp.

    Raises:
        UserError: The folder cannot be written to, holds predictions of another network or other settings or damaged
            ones, or another process is writing to it.
    """

    def __init__(self, folder: Path, producer: Mapping[str, Any], overwrite: bool = False) -> None:
        self.folder = folder
        self._lock = -1
        self._lines: BinaryIO | None = None
        self.done: dict[str, Any] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = open_lock(folder / LOCK)
            if not wait_exclusive(self._lock, 0.0):
                raise UserError(
                    f"{folder}: another process is writing predictions there; wait for it, or choose another "
                    f"inference.out_dir"
                )
            self._lines = (folder / LINES).open("a+b")
            if overwrite:
                self._lines.truncate(0)
            self._open()
            self._go_on({PRODUCER: dict(producer)})
        except OSError as error:
            self.close()
            raise UserError(
                f"inference.out_dir={folder}: no folder to write to ({error.strerror}); choose another"
            ) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Resumable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the files as they are."""
        if self._lines is not None:
            self._lines.close()
        close_lock(self._lock)

    def _open(self) -> None:
        """Open what is written besides the lines."""

    def _begin(self) -> dict[str, Any]:
        """Begin what is written besides the lines; what the first line says of it."""
        return {}

    def _resume(self, last: Mapping[str, Any]) -> None:
        """Go on with what is written besides the lines, behind the entry `last`."""

    def _take(self, entry: Mapping[str, Any]) -> None:
        """Take over the entry of a file."""
        self.done[entry["audio"]] = entry.get(STAMP)

    @staticmethod
    def _is_whole(entry: Mapping[str, Any]) -> bool:
        """Whether a line has what every line has."""
        return True

    def _go_on(self, header: Mapping[str, Any]) -> None:
        """Take over the files that are there, up to the last whole line."""
        self._lines.seek(0)
        whole, last = 0, {}
        for number, line in enumerate(self._lines):
            entry = _parsed(line)
            if entry is None:
                break
            if number == 0:
                self._check_producer(entry.get(PRODUCER), header[PRODUCER])
            whole += len(line)
            if not self._is_whole(entry) or (number and not isinstance(entry.get("audio"), str)):
                raise UserError(
                    f"{self.folder / LINES}, line {number + 1} is no entry of a prediction: the file was changed; "
                    f"begin anew with inference.overwrite=True"
                )
            if number:
                self._take(entry)
            last = entry
        self._lines.truncate(whole)
        if not whole:
            self._line({**header, **self._begin()})
            return
        self._resume(last)

    def _check_producer(self, before: Any, producer: Mapping[str, Any]) -> None:
        before = before if isinstance(before, Mapping) else {}
        other = [key for key in {**before, **producer} if before.get(key) != producer.get(key)]
        if other:
            differences = ", ".join(f"{key} {before.get(key)} there, {producer.get(key)} now" for key in other)
            raise UserError(
                f"{self.folder} holds predictions that were made otherwise ({differences}): choose another "
                f"inference.out_dir, or replace them with inference.overwrite=True"
            )

    def _line(self, entry: Mapping[str, Any]) -> None:
        self._lines.seek(0, os.SEEK_END)
        self._lines.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._lines.flush()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None for one that was torn by a stop."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
