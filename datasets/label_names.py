"""Names of classes: read from a list or from published metadata, and shown to people.

A style of the Discogs taxonomy is called `Genre---Style`. Files keep that name; the terminal and pictures say
"Style (Genre)".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.tables import CorpusError

GENRE_MARK = "---"
FORMS = (
    "a text file with one class name a line, a JSON file (a list, {'classes': [...]}, or names by number, "
    "as id2label in a config.json), or a checkpoint that carries names"
)


def read_names(file: Path) -> tuple[str, ...]:
    """Read class names, in the order of the outputs.

    Args:
        file: Text with one a line (empty lines left out); JSON: a list, an object with `classes` (as Essentia
            publishes), names by number, or an object with such an `id2label` (as Hugging Face publishes).

    Raises:
        CorpusError: It is missing, holds no names, the same name twice, or another form.
    """
    where = f"labels={file}"
    if not file.is_file():
        raise CorpusError(f"{where}: no such file; expected {FORMS}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CorpusError(f"{where}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where}: not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8") from None
    lines = (line.strip() for line in text.splitlines())
    names = _of_json(text, where) if file.suffix == ".json" else tuple(line for line in lines if line)
    if not names:
        raise CorpusError(f"{where}: no class names in it; expected {FORMS}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise CorpusError(f"{where}: {repeated[0]!r} is listed twice; every class needs a name of its own")
    return names


def display_name(label: str) -> str:
    """A class as people say it: "Genre---Style" is "Style (Genre)", any other name is itself."""
    genre, mark, style = label.partition(GENRE_MARK)
    return f"{style} ({genre})" if genre and mark and style else label


def _of_json(text: str, where: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON, or nested too deep: {error}") from None
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("classes", "id2label") if key in content), content)
    names = _by_number(content) if isinstance(content, Mapping) else content
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise CorpusError(f"{where}: no list of class names; expected {FORMS}")
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        raise CorpusError(f"{where}: a name with half a letter (\\ud800 to \\udfff); expected {FORMS}")
    return tuple(names)


def _by_number(names: Mapping[str, Any]) -> list[Any] | None:
    """The names of an object whose keys are 0, 1, 2, ... in any order; None for other objects."""
    if set(names) != {str(number) for number in range(len(names))}:
        return None
    return [names[str(number)] for number in range(len(names))]
