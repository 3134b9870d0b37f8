"""Which column of a table holds what: under its own name, under another one, or recognised by what stands in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from datasets import keys
from datasets.cells import SEPARATORS, listed, parse_number, parted
from datasets.tables import Cell, CorpusError, Sheet

OTHER_NAMES = {
    "path": ("file", "filename", "filepath", "file_path", "audio", "track", "track_id", "id"),
    "split": ("subset",),
    "tags": ("tag",),
    "artist": ("artist_name", "artist_id", "performer"),
}
LIKELY = {  # what the letters are of a name under which an annotation is not looked for, but may stand
    "genre": re.compile(r"(main|primary|track|top|sub)?genre(name|top)?|style"),
    "key": re.compile(
        r"(initial|musical|track|detected)?key(signature|name|camelot|open)?|(camelot|open)(key|code)?"
        r"|tonality|tonart"
    ),
    "tempo": re.compile(r".*bpm.*|beatsperminute|tempo(value|mean|avg)"),
    "arousal": re.compile(r"(mean|static|avg|average)arousal|arousal(mean|avg|average)"),
    "valence": re.compile(r"(mean|static|avg|average)valence|valence(mean|avg|average)"),
}
EITHER = (  # names that tell that a column holds labels, not whether a track can have several
    "labels",
    "label",
    "classes",
    "class",
    "genres",
    "categories",
    "category",
    "targets",
    "target",
    "annotations",
    "annotation",
)


def find(sheet: Sheet, name: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The columns in which something is written.

    Args:
        sheet: The table.
        name: `path`, `split`, or an annotation.
        wanted: Names of columns. The thing's own name alone stands for its other names too.

    Returns:
        One column for its own name alone, else all that are there; none where its own name is among those wanted.

    Raises:
        CorpusError: There is none though only others were asked for, or none for the path.
    """
    usual = wanted == (name,)
    names = (name, *OTHER_NAMES.get(name, ())) if usual else wanted
    found = tuple(dict.fromkeys(column for one in names if (column := sheet.column(one)) is not None))
    if not found and (name == "path" or name not in wanted):
        what = "the path of the audio" if name == "path" else name
        there = ", ".join(map(repr, sheet.columns)) or "nothing"
        known = name == "path" and sheet.columns
        remedy = f"; if it is {sheet.columns[0]!r}, give {option('columns.path', sheet.columns[0])}" if known else ""
        raise CorpusError(
            f"{sheet.file}: no column for {what} ({', '.join(names)}); there is {there}{sheet.hint}{remedy}"
        )
    return found[:1] if usual else found


def either(
    sheet: Sheet, found: dict[str, tuple[str, ...]], wanted: Mapping[str, tuple[str, ...]], separators: str
) -> list[str]:
    """Enter a column of labels under one of the names `EITHER` as tags or genre, by what its cells hold.

    Args:
        sheet: The table.
        found: Columns by annotation; gets the new one, unless the annotation has another.
        wanted: Names of columns by annotation, as in `find`.
        separators: What joins the labels of a cell.

    Returns:
        What to say.
    """
    column = next((column for name in EITHER if (column := sheet.column(name)) is not None), None)
    if column is None or any(column in columns for columns in found.values()):
        return []
    many = several(sheet, (column,), separators)
    name, other = ("tags", "genre") if many else ("genre", "tags")
    if found.get(name) or name not in wanted.get(name, ()):
        return []
    found[name] = (column,)
    why = "tracks can have several" if many else f"no cell holds two labels joined by {' or '.join(separators)}"
    instead = option(f"columns.{other}", column)
    return [f"{sheet.file.name}: column {column!r} is read as {name}, {why} (as {other}: {instead})"]


def several(sheet: Sheet, columns: Sequence[str], separators: str) -> bool:
    """Whether a cell holds several labels, or is a list."""
    cells = (cell for column in columns for cell in sheet.cells(column))
    return any(isinstance(cell, tuple) or _joined(cell, separators) for cell in cells)


def likely(columns: Sequence[str]) -> dict[str, str]:
    """Columns that may hold an annotation, to judge by their names, by annotation."""
    letters = {column: re.sub(r"[^a-z]", "", column.casefold()) for column in columns}
    found = {name: [one for one in columns if pattern.fullmatch(letters[one])] for name, pattern in LIKELY.items()}
    return {name: there[0] for name, there in found.items() if there}


def unread(sheet: Sheet, found: Mapping[str, tuple[str, ...]], wanted: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What to say of columns that are not read though they may hold an annotation that has no column."""
    read = {column for columns in found.values() for column in columns}
    return [
        f"{sheet.file.name}: column {column!r} is not read; if it is the {name}: {option(f'columns.{name}', column)}"
        for name, column in likely(sheet.columns).items()
        if name in wanted
        and not found.get(name)
        and column not in read
        and any(_fits(name, cell) for cell in sheet.cells(column))
    ]


def _fits(name: str, cell: Cell) -> bool:
    if not cell or not isinstance(cell, str):
        return False
    if name == "genre":
        return True
    if name == "key":
        return keys.parse_key(cell) is not None
    try:
        return parse_number(cell) == parse_number(cell)
    except ValueError:
        return False


def option(key: str, value: str) -> str:
    """A word of a command line that sets something of the data module."""
    return shlex.quote(f"datamodule.{key}={value}")


def refuse_commas(sheet: Sheet, name: str, columns: Sequence[str], separators: str) -> None:
    """Refuse cells in which commas seem to join labels though they are none of the separators.

    They do where all that stands between them are labels of other cells, and in a column of tags where half of the
    cells have one and none has a separator. Separators that someone chose settle it.

    Raises:
        CorpusError: There is such a cell; the message says how it is parted, and how it is taken for one label.
    """
    if separators != SEPARATORS:
        return
    for column in columns:
        texts = [(where, cell) for where, row in sheet.rows if isinstance(cell := row.get(column), str) and cell]
        commas = [(where, cell) for where, cell in texts if "," in cell and not _joined(cell, separators)]
        if not commas:
            continue
        labels = {cell.casefold() for _, cell in texts if not _joined(cell, separators)}
        labels |= {one.strip().casefold() for _, cell in texts if _joined(cell, separators) for one in _parts(cell)}
        joined = [(where, cell) for where, cell in commas if _are_labels(cell.split(","), labels)]
        if name == "tags" and 2 * len(commas) >= len(texts) and not any(_joined(one, separators) for _, one in texts):
            joined = joined or commas
        if joined:
            where, cell = joined[0]
            parts = option("separators", ",") + (f" {option('columns.tags', column)}" if name == "genre" else "")
            raise CorpusError(
                f"{sheet.file}, {where}: {column}={cell!r:.80}: does the comma join labels? {parts} parts them there; "
                f"{option('separators', ';')} takes it for one label"
            )


def _are_labels(parts: Sequence[str], labels: set[str]) -> bool:
    return all(part.strip().casefold() in labels for part in parts)


def _parts(cell: str) -> tuple[str, ...]:
    try:
        return parted(cell)
    except ValueError:
        return ()


def _joined(cell: Cell, separators: str) -> bool:
    """Whether a text holds several labels, or means to."""
    if not isinstance(cell, str):
        return False
    try:
        return listed(cell) is not None or len(parted(cell, separators)) > 1
    except ValueError:
        return True
