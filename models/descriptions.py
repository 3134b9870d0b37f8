"""What a file says of its network, checked before anything is made of it."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.errors import CheckpointError
from models.rhythm.options import DECODERS
from models.thresholds import Thresholds

LARGEST = 2**22  # whole number that can be an argument of a network: classes, widths, samples of a window
LONGEST = 4096  # list among the arguments
THRESHOLDS, DECODER = "thresholds", "decoder"  # keys of a header
DEEPEST = 32  # containers within containers
MOST_VALUES = 2**20  # in one entry
LARGEST_JSON = 2**26  # bytes of text


def read_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: Of a file, or of an entry in one.
        where: Named in errors.

    Raises:
        CheckpointError: It is damaged, too deep, too long, no object, or has half of a surrogate pair.
    """
    if len(text) > LARGEST_JSON:
        raise CheckpointError(f"{where} has {len(text):,} characters, expected {LARGEST_JSON:,} at most")
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()  # what cannot be written would be found out much later
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{where} holds a {type(content).__name__}, expected a JSON object")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file; errors as in `read_object`."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes, expected {LARGEST_JSON:,} at most")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    return read_object(text, str(path))


def check_arguments(arguments: Any, where: str) -> dict[str, Any]:
    """Arguments of a network: plain values of sizes that networks have, lists of them, and lists of such lists.

    Raises:
        CheckpointError: They are anything else; names the argument.
    """
    if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
        raise CheckpointError(f"{where}: network is {_shown(arguments)}, expected arguments by name")
    for name, value in arguments.items():
        if isinstance(value, list | tuple):
            values = [one for row in value for one in (row if isinstance(row, list | tuple) else [row])]
            if max(len(value), len(values)) > LONGEST or not all(map(_plain, values)):
                raise CheckpointError(f"{where}: network.{name} is {_shown(value)}, expected a short list of numbers")
        elif not _plain(value):
            raise CheckpointError(
                f"{where}: network.{name} is {_shown(value)}, expected a text, or a number of at most {LARGEST:,}"
            )
    return dict(arguments)


def check_types(arguments: Mapping[str, Any], kind: type, where: str) -> None:
    """Refuse arguments of another type than the defaults of the network have.

    Raises:
        CheckpointError: One is; names the argument.
    """
    for name, parameter in inspect.signature(kind).parameters.items():
        usual = next((types for of, types in _TYPES.items() if type(parameter.default) is of), None)
        if name in arguments and usual and type(arguments[name]) not in usual:
            raise CheckpointError(
                f"{where}: network.{name} is {_shown(arguments[name])}, expected something like {parameter.default!r}"
            )


def check_metadata(metadata: Any, where: str) -> dict[str, Any]:
    """What else a file says: labels, normalisation, task, its options, thresholds; other entries as they are.

    Raises:
        CheckpointError: One of these is not what it should be; names the entry.
    """
    if not _entries(metadata):
        raise CheckpointError(f"{where}: metadata is {_shown(metadata)}, expected entries by name")
    for name, value in metadata.items():
        if not _shallow(value):
            raise CheckpointError(f"{where}: {name:.80} is nested deeper than {DEEPEST}, or holds too much")
    for name, (fits, expected) in _ENTRIES.items():
        if metadata.get(name) is not None and not fits(metadata[name]):
            raise CheckpointError(f"{where}: {name} is {_shown(metadata[name])}, expected {expected}")
    return dict(metadata)


def fitting_metadata(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a file of another program says, the entries that can be what they are called here."""
    return {name: value for name, value in entries.items() if name not in _ENTRIES or _ENTRIES[name][0](value)}


def _plain(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= LARGEST
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) <= LARGEST
    return value is None or (isinstance(value, str) and len(value) <= LONGEST)


def _shallow(value: Any) -> bool:
    """Whether containers nest no deeper than they may; those of a pickle may hold each other."""
    level, seen = [value], 0
    for _ in range(DEEPEST):
        level = [inner for one in level if isinstance(one, Mapping | list | tuple) for inner in _within(one)]
        seen += len(level)
        if not level or seen > MOST_VALUES:
            break
    return not level and seen <= MOST_VALUES


def _within(value: Any) -> list[Any]:
    return [*value.values()] if isinstance(value, Mapping) else list(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _mean_and_deviation(value: Any) -> bool:
    numbers = isinstance(value, list | tuple) and len(value) == 2 and all(type(one) in (int, float) for one in value)
    return numbers and all(abs(one) <= LARGEST for one in value) and value[1] > 0


def _text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _front_end(value: Any) -> bool:
    if _entries(value):
        return _text(value.get("name")) and _entries(value.get("arguments", {}))
    return _text(value)


def _entries(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _thresholds(value: Any) -> bool:
    try:
        Thresholds.of_entry(value)
    except ValueError:
        return False
    return True


_TYPES = {bool: (bool,), int: (int,), float: (float, int), str: (str,), tuple: (list, tuple)}
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (_texts, "a list of names"),
    "normalisation": (_mean_and_deviation, "a mean and a positive deviation"),
    "task": (_text, "the name of a task"),
    "options": (_entries, "options by name"),
    "training": (_entries, "settings by name"),
    "licence": (_text, "the name of a licence"),
    "frontend": (_front_end, "a front end's name and arguments, or a fingerprint"),
    "input": (lambda value: value in ("features", "audio"), "features or audio"),
    "window": (lambda value: type(value) is int and 0 < value <= LARGEST, f"frames, from 1 to {LARGEST:,}"),
    "decoder": (lambda value: value in DECODERS, f"one of {', '.join(DECODERS)}"),
    "thresholds": (_thresholds, "tags, a value from 0 to 1 for each, and a global one"),
}


def _shown(value: Any) -> str:
    """A value as an error names it, however long or deep it is."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # the latter of whole numbers with thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
