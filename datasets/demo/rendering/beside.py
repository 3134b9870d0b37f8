"""What lies beside a MIDI file and knows better than it: beats, keys, and tables of styles and splits."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from datasets.beat_files import parse_beats
from datasets.beats import Beats
from datasets.demo.errors import DemoError
from datasets.demo.midi import SUFFIXES
from datasets.demo.rendering.grid import Grid, Meter
from datasets.demo.rendering.piece import KeySpan
from datasets.inside import file_state
from datasets.keys import parse_key
from datasets.tables import CorpusError

BEATS = ("{stem}.beats", "{stem}_annotations.txt", "{stem}_beats.txt", "beat_midi.txt")
KEYS = ("{stem}_key.txt", "key_midi.txt", "key_audio.txt")
TABLES = ("info.csv", "metadata.csv")
LARGEST = 2**22  # bytes of a file
USUAL_BAR = 4  # beats, which one of several columns of downbeats should come close to


def find(midi: Path, patterns: Sequence[str], root: Path) -> Path | None:
    """The first file beside a MIDI file that has one of the names; it must lie below `root`, links followed.

    A name that does not hold the MIDI file's own is meant for it only where it is alone in its folder.
    """
    for pattern in patterns:
        path = midi.with_name(pattern.replace("{stem}", midi.stem))
        if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
            continue
        if "{stem}" in pattern or sum(one.suffix.lower() in SUFFIXES for one in midi.parent.iterdir()) == 1:
            return path
    return None


def read_beats(path: Path) -> Grid:
    """Beats of a text file: one that `datasets.beat_files` reads, whose columns commas may part.

    Or one whose columns behind the times each mark their downbeats by 1 and all else by 0, as those of POP909 do. The
    metre is as many quarters as a bar mostly has beats.

    Raises:
        DemoError: It is too large, or something else; or there are no beats.
    """
    text = _text(path)
    try:
        beats = _marked(text) or parse_beats(_parted(text).encode(), path.name).beats
    except CorpusError as error:
        raise DemoError(str(error)) from error
    except ValueError as error:
        raise DemoError(f"{path.name}: {error}") from error
    if not len(beats):
        raise DemoError(f"{path.name}: no beats; expected lines of a time in seconds and a position in the bar")
    return grid_of(beats.times, np.zeros(len(beats), np.int64) if beats.positions is None else beats.positions)


def grid_of(times: np.ndarray, positions: np.ndarray) -> Grid:
    """Beats whose metre is told by their bars."""
    starts = np.flatnonzero(positions == 1)
    lengths = np.diff(starts)
    usual = int(np.bincount(lengths).argmax()) if len(lengths) else int(positions.max(initial=0)) or USUAL_BAR
    meters = [Meter(usual, 4)] * len(times)
    for first, length in zip(starts, lengths, strict=False):
        meters[first : first + length] = [Meter(int(length), 4)] * int(length)
    return Grid(times, positions, tuple(meters))


def _parted(text: str) -> str:
    """Lines whose columns are parted by blanks; but for what ASAP writes behind `b` and `db`."""
    return "\n".join(line if "\t" in line else line.replace(",", " ") for line in text.splitlines())


def _marked(text: str) -> Beats | None:
    """Beats whose downbeats columns mark by 1; None of any other text."""
    rows = [line.split() for line in _parted(text).splitlines() if line.strip() and not line.startswith("#")]
    if not rows or any(len(row) != len(rows[0]) or len(row) < 2 for row in rows):
        return None
    try:
        cells = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError:
        return None
    times, columns = cells[:, 0], cells[:, 1:].T
    if not np.isin(columns, (0, 1)).all():
        return None
    downbeats = min((column == 1 for column in columns), key=lambda marks: abs(_usual_bar(marks) - USUAL_BAR))
    return Beats(times, counted(downbeats))


def _usual_bar(downbeats: np.ndarray) -> int:
    """The commonest number of beats from one downbeat to the next."""
    gaps = np.diff(np.flatnonzero(downbeats))
    return int(np.bincount(gaps).argmax()) if len(gaps) else USUAL_BAR


def counted(downbeats: Sequence[bool] | np.ndarray) -> np.ndarray:
    """Whether each beat is a downbeat -> positions in the bar; before the first, they count up to a usual bar's end."""
    marks = np.flatnonzero(downbeats)
    positions = np.zeros(len(downbeats), np.int64)
    if not len(marks):
        return positions
    usual = _usual_bar(np.asarray(downbeats))
    for first, after in itertools.pairwise((*marks, len(downbeats))):
        positions[first:after] = np.arange(1, after - first + 1)
    lead = np.arange(-int(marks[0]), 0) % usual + 1
    positions[: marks[0]] = lead
    return positions


def read_keys(path: Path) -> tuple[KeySpan, ...]:
    """Keys of a text file with lines of start, end (seconds) and name; those that cannot be read are left out."""
    keys = []
    for line in _text(path).splitlines():
        cells = line.split(maxsplit=2)
        try:
            start, end, number = float(cells[0]), float(cells[1]), parse_key(cells[2])
        except (ValueError, IndexError):
            continue
        if number is not None:
            keys.append(KeySpan(start, end, number % 12, minor=number >= 12))
    return tuple(keys)


def row_of(midi: Path, root: Path) -> dict[str, str]:
    """The line that a table in the file's folder, or above it up to `root`, has for a MIDI file; empty without one."""
    for folder in midi.relative_to(root).parents:
        for name in TABLES:
            path = root / folder / name
            rows = _table(path, root, file_state(path))
            found = rows.get(midi.relative_to(root / folder).as_posix())
            if found is not None:
                return found
    return {}


@lru_cache(maxsize=64)
def _table(path: Path, root: Path, state: tuple[int, int] | None) -> dict[str, dict[str, str]]:
    """Lines of a table in some state by the MIDI file that one of their cells names; none of what is no table."""
    if state is None or not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        return {}
    try:
        found = list(csv.DictReader(_text(path).splitlines()))
    except (DemoError, csv.Error):
        return {}
    rows = {}
    for row in found:
        cells = {name: cell for name, cell in row.items() if isinstance(name, str) and isinstance(cell, str)}
        for cell in cells.values():
            if cell.lower().endswith(tuple(SUFFIXES)):
                rows[cell] = cells
    return rows


def _text(path: Path) -> str:
    """What stands in a small text file.

    Raises:
        DemoError: It cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DemoError(f"{path.name}: larger than {LARGEST >> 20} MiB")
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DemoError(f"{path.name}: cannot be read ({error.strerror or error})") from error
