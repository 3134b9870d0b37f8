"""Which column of a table holds what: under its own name, under another one, or told by what stands in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datasets.tables import Cell, CorpusError, Sheet

SEPARATORS = ";|"
OTHER_NAMES = {
    "path": ("file", "filename", "filepath", "file_path", "audio", "track", "track_id", "id"),
    "split": ("subset",),
    "tags": ("tag",),
    "artist": ("artist_name", "artist_id", "performer"),
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
        raise CorpusError(f"{sheet.file}: no column for {what} ({', '.join(names)}); there is {there}{sheet.hint}")
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
    several = any(isinstance(cell, tuple) or _joined(cell, separators) for cell in sheet.cells(column))
    name, other = ("tags", "genre") if several else ("genre", "tags")
    if found.get(name) or name not in wanted.get(name, ()):
        return []
    found[name] = (column,)
    why = "tracks can have several" if several else f"no cell holds two labels joined by {' or '.join(separators)}"
    return [f"{sheet.file.name}: column {column!r} is read as {name}, {why} (as {other}: columns.{other}={column})"]


def separation(sheet: Sheet, columns: Sequence[str], separators: str) -> list[str]:
    """What to say where the tags of a cell seem to be joined by a comma, which is none of the separators."""
    cells = [cell for column in columns for cell in sheet.cells(column) if cell]
    commas = [cell for cell in cells if isinstance(cell, str) and "," in cell]
    if "," in separators or 2 * len(commas) < max(len(cells), 1) or any(_joined(cell, separators) for cell in cells):
        return []
    return [
        f"{sheet.file.name}: {len(commas)} of {len(cells)} cells of {'+'.join(columns)} hold a comma and none holds "
        f"{' or '.join(separators)}: {commas[0]!r} is one label (to part it: separators=,)"
    ]


def _joined(cell: Cell, separators: str) -> bool:
    return isinstance(cell, str) and any(separator in cell for separator in separators)
