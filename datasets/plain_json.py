"""JSON that anybody may have written: within limits, or refused in a few words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

DEEPEST = 32  # levels; what the suite writes has six at most


def parse(
    text: str | bytes, deepest: int = DEEPEST, pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None
) -> Any:
    """The content of a JSON text whose levels can be counted and whose texts can be written and shown.

    The parser of the standard library follows as many levels as the stack allows, and whoever copies, compares or
    prints the content later then meets a RecursionError.

    Args:
        text: to be parsed.
        deepest: levels it may have.
        pairs: makes a dictionary of the keys and values of an object, in place of ``dict``.

    Raises:
        ValueError: no JSON, more levels than `deepest`, or a text with half of a surrogate pair.
    """
    try:
        content = json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError(f"it is nested more than {deepest} levels deep") from None
    level: list[Any] = [content]
    for _ in range(deepest + 1):
        if any(isinstance(value, str) and not value.isascii() and not _encodes(value) for value in level):
            raise ValueError("it has a text that is not valid Unicode")
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return content
    raise ValueError(f"it is nested more than {deepest} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else ()


def _encodes(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
