"""Names of classes: read from a list, published metadata or a checkpoint, and shown to people.

A style of the Discogs taxonomy is called `Genre---Style`. Files keep that name; the terminal and pictures say
"Style (Genre)".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.errors import UserError

WEIGHTS = (".ckpt", ".pt", ".pth", ".safetensors")
GENRE_MARK = "---"
FORMS = (
    "a text file with one class name a line, a JSON file (a list, {'classes': [...]}, or names by number, "
    "as id2label in a config.json), or a checkpoint that carries names"
)


def read_labels(file: str) -> tuple[str, ...]:
    """Read class names, in the order of the outputs.

    Args:
        file: A text file with one a line (empty lines left out); JSON: a list, an object with `classes` (as Essentia
            publishes), names by number, or an object with such an `id2label` (as Hugging Face publishes); or a
            checkpoint, run's folder or Hugging Face folder that carries them.

    Raises:
        UserError: It is missing, holds no names, the same name twice, or another form.
    """
    path = Path(file).expanduser()
    if path.is_dir() or path.suffix in WEIGHTS:
        return _of_checkpoint(file)
    if not path.is_file():
        raise UserError(f"labels={file}: no such file; expected {FORMS}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"labels={file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"labels={file}: not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8") from None
    labels = _of_json(text, file) if path.suffix == ".json" else _of_lines(text)
    if not labels:
        raise UserError(f"labels={file}: no class names in it; expected {FORMS}")
    if repeated := [label for label, count in Counter(labels).items() if count > 1]:
        raise UserError(f"labels={file}: {repeated[0]!r} is listed twice; every class needs a name of its own")
    return labels


def output_names(carried: Sequence[str] | None, file: str | None, n_classes: int) -> tuple[str, ...]:
    """Names of a network's outputs: those of a file if one is given, else those its weights carry, else numbers.

    Raises:
        UserError: There are more or fewer of them than outputs, or the file cannot be read.
    """
    labels = read_labels(file) if file else carried
    if labels is None:
        return tuple(f"class_{number:03d}" for number in range(n_classes))
    if len(labels) != n_classes:
        origin = f"inference.labels={file}" if file else "the weights"
        raise UserError(f"{origin}: {len(labels)} names, the network has {n_classes} classes; give one name for each")
    return tuple(labels)


def display_name(label: str) -> str:
    """A class as people say it: "Genre---Style" is "Style (Genre)", any other name is itself."""
    genre, mark, style = label.partition(GENRE_MARK)
    return f"{style} ({genre})" if genre and mark and style else label


def _of_lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _of_json(text: str, file: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"labels={file}: not JSON, or nested too deep: {error}") from None
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("classes", "id2label") if key in content), content)
    names = _by_number(content) if isinstance(content, Mapping) else content
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"labels={file}: no list of class names; expected {FORMS}")
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        raise UserError(f"labels={file}: a name with half a letter (\\ud800 to \\udfff); expected {FORMS}")
    return tuple(names)


def _by_number(names: Mapping[str, Any]) -> list[Any] | None:
    """The names of an object whose keys are 0, 1, 2, ... in any order; None for other objects."""
    if set(names) != {str(number) for number in range(len(names))}:
        return None
    return [names[str(number)] for number in range(len(names))]


def _of_checkpoint(named: str) -> tuple[str, ...]:
    from experiments.checkpoint_files import checkpoint_file
    from models.checkpoints import read_metadata

    labels = read_metadata(checkpoint_file(named)).get("labels")
    if not labels:
        raise UserError(f"labels={named}: this checkpoint names no classes; give a text file with one a line")
    return tuple(labels)
