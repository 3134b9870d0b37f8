"""Which recordings of a corpus can be used, and why the others cannot: a table, written before any split is made."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from datasets.corpora.base import Item
from datasets.corpora.copies import write_rows
from datasets.csv_writing import bare
from datasets.tables import CorpusError

FILE = "integrity.csv"
COLUMNS = ("track", "verdict", "reason", "genre", "tempo")
ACCEPTED, REFUSED = "accepted", "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a recording.

    Attributes:
        track: Its id.
        verdict: `accepted` or `refused`.
        reason: Of a refusal; of an accepted one, what is odd about it, or nothing.
        genre: As it is annotated, or nothing.
        tempo: The same, BPM.
    """

    track: str
    verdict: str
    reason: str = ""
    genre: str = ""
    tempo: str = ""


def verdicts(items: Iterable[Item], absent: Mapping[str, str], odd: Mapping[str, str]) -> list[Verdict]:
    """The verdict on every recording.

    Args:
        items: All recordings.
        absent: Those whose audio cannot be used, and why.
        odd: What to know of others.
    """
    found = []
    for item in items:
        reason = item.refused or absent.get(item.id, "")
        verdict, said = (REFUSED, reason) if reason else (ACCEPTED, odd.get(item.id, ""))
        cells = item.cells
        found.append(Verdict(item.id, verdict, said, cells.get("genre", ""), cells.get("tempo", "")))
    return found


def write(folder: Path, found: Iterable[Verdict]) -> Path:
    """Put the table into a folder in the place of an older one."""
    file = folder / FILE
    write_rows(file, COLUMNS, [astuple(one) for one in found])
    return file


def read(folder: Path) -> list[Verdict]:
    """The table of a folder; empty where there is none.

    Raises:
        CorpusError: It is not such a table.
    """
    file = folder / FILE
    if not file.is_file():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            return [Verdict(*(bare(row[column]) for column in COLUMNS)) for row in csv.DictReader(handle)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{file}: not a table of {', '.join(COLUMNS)} ({error})") from None
