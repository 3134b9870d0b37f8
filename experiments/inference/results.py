"""The files of a prediction: written as it goes, and continued after a stop.

`predictions.jsonl` gets a line a file and is what counts: rows of `predictions.csv` that no line vouches for are those
of a file that was interrupted, and are cut off. `predictions.json` and `ranked.csv` are made of it at the end.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from datasets.csv_writing import TableWriter
from datasets.file_locks import close_lock, open_lock, wait_exclusive
from experiments.errors import UserError
from models.prediction import Prediction
from models.selection import Selection

LINES, WINDOWS, DOCUMENT, RANKED = "predictions.jsonl", "predictions.csv", "predictions.json", "ranked.csv"
LOCK = ".predictions.lock"
PRODUCER = "made"  # of the first line: what the predictions are made with
END = "csv_bytes"  # of a line: how long the table of windows is after its file
STAMP = "file"  # of a line: size and time of the last change of its file
WHOLE = "whole"  # of a line: the predictions of all classes, so that tags can be selected anew by another rule
DIGITS = 5


class Results:
    """A folder of predictions, open for more of them.

    Args:
        folder: Made if need be; goes on with what is there.
        producer: What the predictions are made with; plain values.
        labels: Names of the classes.
        kind: Of the task: all `values` are wanted, of probabilities the largest.
        top: Classes of a file in the ranking.
        selection: Which classes are given; it may be another one in every call. None: none, as of values.
        about: What every entry says of its selection besides; plain values.
        overwrite: Begin anew even where predictions were made otherwise.

    Attributes:
        done: Files that are through, each with what was given as its stamp.

    Raises:
        UserError: The folder cannot be written to, holds predictions of another network or other settings or damaged
            ones, or another process is writing to it.
    """

    def __init__(
        self,
        folder: Path,
        producer: Mapping[str, Any],
        labels: Sequence[str],
        kind: str,
        top: int,
        overwrite: bool = False,
        selection: Selection | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.labels, self.top, self.values = folder, list(labels), top, kind == "values"
        self.kind, self.selection, self.about = kind, selection, dict(about or {})
        self.key = "values" if self.values else "ranked"
        self._lock = -1
        self._lines: BinaryIO | None = None
        self._windows: BinaryIO | None = None
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
            _unshare(folder / WINDOWS)
            self._windows = (folder / WINDOWS).open("a+b")
            self._go_on({PRODUCER: dict(producer)})
        except OSError as error:
            self.close()
            raise UserError(
                f"inference.out_dir={folder}: no folder to write to ({error.strerror}); choose another"
            ) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the files as they are."""
        for file in (self._windows, self._lines):
            if file is not None:
                file.close()
        close_lock(self._lock)

    def enter(self, audio: str, prediction: Prediction, stamp: Any = None) -> dict[str, Any]:
        """Write a file's windows and its ranking; returns what `predictions.json` will say of it.

        Args:
            audio: The file.
            prediction: Of it.
            stamp: Tells its content from another; a plain value.
        """
        rows = io.StringIO()
        writer = TableWriter(rows)
        for time, row in zip(prediction.times, prediction.over_time, strict=True):
            writer.writerow([audio, f"{time:.3f}", *(f"{value:.{DIGITS}f}" for value in row)])
        self._windows.write(rows.getvalue().encode())
        self._windows.flush()
        ranked = {label: round(value, DIGITS) for label, value in prediction.best(self.top).items()}
        columns = [(label, self.labels.index(label)) for label in ranked]
        over_time = [
            {"seconds": round(float(time), 3), **{label: round(float(row[at]), DIGITS) for label, at in columns}}
            for time, row in zip(prediction.times, prediction.over_time, strict=True)
        ]
        summary = {
            "audio": audio,
            "window_seconds": round(prediction.window, 3),
            self.key: ranked,
            "over_time": over_time,
        }
        whole = [float(value) for value in np.reshape(prediction.whole, -1)] if self.selection else None
        line = {**summary, WHOLE: whole, STAMP: stamp, END: self._windows.tell()}
        self._line(line)
        self.done[audio] = stamp
        return self._summary(line)

    def summaries(self) -> Iterator[dict[str, Any]]:
        """What is known of every file so far, in the order in which they were finished."""
        with (self.folder / LINES).open("rb") as lines:
            next(lines)
            for line in lines:
                yield self._summary(json.loads(line))

    def _summary(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """An entry of `predictions.json`; one of an earlier version has nothing to select from."""
        summary = {key: value for key, value in line.items() if key not in (END, STAMP, WHOLE)}
        whole = line.get(WHOLE)
        if self.selection is None or whole is None:
            return summary
        scores = np.array(whole, dtype=np.float64)
        numbers = self.selection.numbers(scores)
        selected = {self.labels[number]: round(whole[number], DIGITS) for number in numbers}
        thresholds = self.selection.thresholds
        rule: dict[str, Any] = {"rule": self.selection.rule, "source": self.selection.source}
        if thresholds is not None:
            rule["below_thresholds"] = not self.selection.given(scores[None]).any()
            rule["thresholds"] = {
                label: round(value, DIGITS) for label, value in zip(self.labels, thresholds, strict=True)
            }
        first = {"audio": summary.pop("audio"), "selected": selected}
        return {**first, "selection": {**rule, **self.about}, **summary}

    def finish(self) -> list[Path]:
        """Make the files that are read by people and programs; returns all of them."""
        document, ranked = self.folder / DOCUMENT, self.folder / RANKED
        asides = [path.with_name(f".{path.name}.part") for path in (document, ranked)]
        with (
            asides[0].open("w", encoding="utf-8") as json_file,
            asides[1].open("w", newline="", encoding="utf-8") as table,
        ):
            writer = TableWriter(table)
            writer.writerow(["audio", "rank", "class", "value" if self.values else "probability"])
            before = "["
            for summary in self.summaries():
                json_file.write(before + "\n" + json.dumps(summary, ensure_ascii=False))
                before = ","
                for rank, (label, value) in enumerate(summary[self.key].items(), 1):
                    writer.writerow([summary["audio"], rank, label, f"{value:.{DIGITS}f}"])
            json_file.write("\n]\n" if before == "," else "[]\n")
        for aside, path in zip(asides, (document, ranked), strict=True):
            os.replace(aside, path)
        return [document, ranked, self.folder / WINDOWS]

    def _go_on(self, header: Mapping[str, Any]) -> None:
        """Take over the files that are there, up to the last whole line."""
        self._lines.seek(0)
        whole, end = 0, 0
        for number, line in enumerate(self._lines):
            entry = _parsed(line)
            if entry is None:
                break
            if number == 0:
                self._check_producer(entry.get(PRODUCER), header[PRODUCER])
            whole += len(line)
            if not isinstance(entry.get(END), int) or (number and not isinstance(entry.get("audio"), str)):
                raise UserError(
                    f"{self.folder / LINES}, line {number + 1} is no entry of a prediction: the file was changed; "
                    f"begin anew with inference.overwrite=True"
                )
            if number:
                self.done[entry["audio"]] = entry.get(STAMP)
            end = entry[END]
        self._lines.truncate(whole)
        if not whole:
            self._windows.truncate(0)
            names = io.StringIO()
            TableWriter(names).writerow(["audio", "seconds", *self.labels])
            self._windows.write(names.getvalue().encode())
            self._windows.flush()
            self._line({**header, END: self._windows.tell()})
            return
        if self._windows.seek(0, os.SEEK_END) < end:
            raise UserError(
                f"{self.folder / WINDOWS} is shorter than {LINES} says: it was changed; "
                f"begin anew with inference.overwrite=True"
            )
        self._windows.truncate(end)
        self._windows.seek(0, os.SEEK_END)

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


def _unshare(path: Path) -> None:
    """Give a file that an earlier run has kept by a link a copy of its own, so that the kept one stays as it is."""
    if path.exists() and path.stat().st_nlink > 1:
        aside = path.with_name(f".{path.name}.part")
        shutil.copyfile(path, aside)
        os.replace(aside, path)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None for one that was torn by a stop."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
