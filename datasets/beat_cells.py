"""The column `beats` of a table: a path of a file of beats, or the beats themselves as a JSON list.

A list holds times in seconds, or pairs of time and position in the bar: `[0.5, 1.0]`, `[[0.5, 1], [1.0, 2]]`. A path is
relative to the folder of the table, or to that of the audio, and never leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.beat_files import LARGEST, FoundBeats, beats_of_json, beats_of_list, mended_notes, parse_beats
from datasets.beats import Beats
from datasets.inside import open_inside
from datasets.tables import Cell, CorpusError
from datasets.text import pluralize, shown

if TYPE_CHECKING:
    from datasets.corpus import Track

BEATS = "beats"
SHOWN = 3  # reasons that are said


def parse_cell(cell: Cell) -> Beats | str:
    """The beats that stand in a cell, or the path that does.

    Raises:
        CorpusError: It holds a list of something else.
    """
    found = _inline(cell, BEATS)
    return found.beats if isinstance(found, FoundBeats) else found


def beats_of_cell(cell: Cell, folders: Sequence[Path], where: str) -> FoundBeats:
    """The beats of a cell.

    Args:
        cell: A list, or a path with `/` or `\\`.
        folders: Where the path is looked for, one after another.
        where: The cell, for messages.

    Raises:
        CorpusError: There is no such file inside of the folders, or it, or the list, cannot be read.
    """
    found = _inline(cell, where)
    if isinstance(found, FoundBeats):
        return found
    name, reason = found.replace("\\", "/"), "no such file"
    for folder in folders:
        try:
            with open_inside(folder, name) as stream:
                return parse_beats(stream.read(LARGEST + 1), f"{folder / name}")
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = error.strerror or str(error)
    raise CorpusError(
        f"{where}: {shown(name)}: {reason}; expected a file of beats below {' or '.join(map(str, folders))}"
    )


def beats_cell(beats: Beats) -> str:
    """Beats as a cell holds them."""
    if beats.positions is None:
        return json.dumps(beats.times.tolist())
    return json.dumps([list(pair) for pair in zip(beats.times.tolist(), beats.positions.tolist(), strict=True)])


def settled(
    tracks: Sequence[Track], places: Sequence[str], file: Path, folders: Sequence[Path], lenient: bool
) -> tuple[list[Track], list[str], dict[str, str]]:
    """Read the beats that cells of a table name.

    Args:
        tracks: With the cell as annotation `beats`, where there is one.
        places: Where each track stands in the table.
        file: The table.
        folders: Where paths are looked for.
        lenient: Leave out what cannot be read, with a note.

    Returns:
        The tracks, what to say, and why beats could not be read, by the id of the track.

    Raises:
        CorpusError: Beats cannot be read, unless `lenient`.
    """
    made, found, refused = [], [], {}
    for track, place in zip(tracks, places, strict=True):
        annotations = dict(track.annotations)
        if (cell := annotations.pop(BEATS, None)) is None:
            made.append(track)
            continue
        try:
            one = beats_of_cell(cell, folders, f"{file}, {place}: {BEATS}")
        except CorpusError as error:
            if not lenient:
                raise
            refused[track.id] = str(error)
        else:
            found.append(one)
            annotations[BEATS] = one.beats
        made.append(replace(track, annotations=annotations))
    return made, [*mended_notes(found), *refused_notes(refused)], refused


def refused_notes(unreadable: Mapping[str, str]) -> list[str]:
    """What to say of annotations of beats that are left out, reasons by track: the first of these, a line each."""
    if not unreadable:
        return []
    count = pluralize(len(unreadable), "annotation of beats is", "annotations of beats are")
    lines = list(unreadable.values())[:SHOWN]
    if len(unreadable) > SHOWN:
        lines.append(f"and {len(unreadable) - SHOWN:,} more")
    return ["\n  ".join([f"{count} not readable and left out:", *lines])]


def _inline(cell: Cell, where: str) -> FoundBeats | str:
    if isinstance(cell, tuple):
        return beats_of_list(cell, where)
    text = cell or ""
    return beats_of_json(text, where) if text.startswith("[") else text
