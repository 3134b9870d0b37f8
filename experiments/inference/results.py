"""The files of a prediction of classes or values: written as it goes, and continued after a stop.

Rows of `predictions.csv` that no line of `predictions.jsonl` vouches for are those of a file that was interrupted, and
are cut off. `predictions.json` and `ranked.csv` are made of the lines at the end.
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
from experiments.errors import UserError
from experiments.inference.entries import DIGITS, entry_of, key_of, selected
from experiments.inference.resumable import LINES, LOCK, STAMP, Resumable
from models.prediction import Prediction
from models.selection import Selection

__all__ = ["LOCK", "Results"]

WINDOWS, DOCUMENT, RANKED = "predictions.csv", "predictions.json", "ranked.csv"
END = "csv_bytes"  # of a line: how long the table of windows is after its file
WHOLE = "whole"  # of a line: the predictions of all classes, so that tags can be selected anew by another rule


class Results(Resumable):
    """A folder of predictions, open for more of them.

    Args:
        folder: Made if need be; goes on with what is there.
        producer: What the predictions are made with; plain values.
        labels: Names of the classes.
        kind: Of the task: all `values` are wanted, of probabilities the largest.
        top: Classes of a file in the ranking.
        overwrite: Begin anew even where predictions were made otherwise.
        selection: Which classes are given; it may be another one in every call. None: none, as of values.
        about: What every entry says of its selection besides; plain values.

    Raises:
        UserError: As of `Resumable`.
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
        self.labels, self.top, self.values = list(labels), top, kind == "values"
        self.kind, self.selection, self.about = kind, selection, dict(about or {})
        self.key = key_of(kind)
        self._windows: BinaryIO | None = None
        super().__init__(folder, producer, overwrite)

    def close(self) -> None:
        """Leave the files as they are."""
        if self._windows is not None:
            self._windows.close()
        super().close()

    def enter(
        self, audio: str, prediction: Prediction, stamp: Any = None, more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write a file's windows and its ranking; returns what `predictions.json` will say of it.

        Args:
            audio: The file.
            prediction: Of it.
            stamp: Tells its content from another; a plain value.
            more: What is known of it besides; plain values.
        """
        rows = io.StringIO()
        writer = TableWriter(rows)
        for time, row in zip(prediction.times, prediction.over_time, strict=True):
            writer.writerow([audio, f"{time:.3f}", *(f"{value:.{DIGITS}f}" for value in row)])
        self._windows.write(rows.getvalue().encode())
        self._windows.flush()
        summary = {"audio": audio, **entry_of(prediction, self.top, more)}
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
        chosen = selected(np.array(whole, dtype=np.float64), self.labels, self.selection, self.about)
        return {"audio": summary.pop("audio"), **chosen, **summary}

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

    def _open(self) -> None:
        _unshare(self.folder / WINDOWS)
        self._windows = (self.folder / WINDOWS).open("a+b")

    def _begin(self) -> dict[str, Any]:
        self._windows.truncate(0)
        names = io.StringIO()
        TableWriter(names).writerow(["audio", "seconds", *self.labels])
        self._windows.write(names.getvalue().encode())
        self._windows.flush()
        return {END: self._windows.tell()}

    def _resume(self, last: Mapping[str, Any]) -> None:
        if self._windows.seek(0, os.SEEK_END) < last[END]:
            raise UserError(
                f"{self.folder / WINDOWS} is shorter than {LINES} says: it was changed; "
                f"begin anew with inference.overwrite=True"
            )
        self._windows.truncate(last[END])
        self._windows.seek(0, os.SEEK_END)

    @staticmethod
    def _is_whole(entry: Mapping[str, Any]) -> bool:
        return isinstance(entry.get(END), int)


def _unshare(path: Path) -> None:
    """Give a file that an earlier run has kept by a link a copy of its own, so that the kept one stays as it is."""
    if path.exists() and path.stat().st_nlink > 1:
        aside = path.with_name(f".{path.name}.part")
        shutil.copyfile(path, aside)
        os.replace(aside, path)
