"""What a cell of a table says: a number, a label, or several labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

SEPARATORS = ";|"
NO_TAGS = "-"
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+)")
QUOTED = re.compile(r"""\s*(?:'((?:[^'\\]|\\['"\\])*)'|"((?:[^"\\]|\\['"\\])*)")\s*,?\s*""")
BRACKETS = {"[": "]", "(": ")", "{": "}"}
QUOTES = ("'", '"')
FAILED_FORMULAS = frozenset(("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"))


def listed(text: str) -> tuple[str, ...] | None:
    """The texts of a list that a program wrote into a cell, `["a", "b"]` or `['a' 'b']`; None where it is none.

    Raises:
        ValueError: It begins and ends as a list of several does, and is none that can be read.
    """
    text = text.strip()
    if len(text) < 2 or BRACKETS.get(text[0]) != text[-1]:
        return None
    inside = text[1:-1].strip()
    if not inside:
        return () if text[0] == "[" else None
    if not inside.startswith(QUOTES):
        if text[0] in "[{" and "," in inside:
            raise ValueError("a list whose entries have no quotes; join them by ; without brackets")
        return None
    try:
        found = json.loads(text) if text[0] == "[" else None
    except (ValueError, RecursionError):
        found = None
    if found is None:
        found = _quoted(inside)
    if not all(isinstance(one, str) for one in found):
        raise ValueError("a list that holds something else than texts")
    return tuple(found)


def _quoted(inside: str) -> list[str]:
    """Texts in quotes with commas or spaces between them, as Python and numpy write them."""
    found, end = [], 0
    while end < len(inside):
        one = QUOTED.match(inside, end)
        if one is None:
            raise ValueError("a list that cannot be read")
        found.append(re.sub(r"\\(.)", r"\1", one[1] if one[1] is not None else one[2]))
        end = one.end()
    return found


def parted(text: str, separators: str = SEPARATORS) -> tuple[str, ...]:
    """The labels of a text, joined by any of the separators or by line breaks, or written as a list.

    Raises:
        ValueError: See `listed`; or a list is a part of the text.
    """
    if (several := listed(text)) is not None:
        return several
    parts = re.split(f"[{re.escape(separators)}\n\r]", text)
    if any(part.strip().startswith(("['", '["')) for part in parts):
        raise ValueError("a list and something else")
    return tuple(parts)


def distinct(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in order of appearance, without empty ones and `-`, which stands for none."""
    stripped = (label.strip() for label in labels)
    return tuple(dict.fromkeys(label for label in stripped if label not in ("", NO_TAGS)))


def parse_tags(cell: str | tuple[str, ...], separators: str = SEPARATORS) -> tuple[str, ...]:
    """Distinct tags of a cell in order of appearance; `-` is none.

    Raises:
        ValueError: See `listed`.
    """
    return distinct(parted(cell, separators) if isinstance(cell, str) else cell)


def parse_number(cell: str, decimal_commas: bool = False) -> float:
    """A number; NaN is left to the caller.

    Args:
        cell: A decimal comma is read unless it could part thousands (`12,000`).
        decimal_commas: Whether every comma is one.

    Raises:
        ValueError: It is none, or infinite.
    """
    if comma := DECIMAL_COMMA.fullmatch(cell):
        if len(comma[2]) == 3 and not decimal_commas:
            raise ValueError("its comma can part decimals or thousands")
        cell = f"{comma[1]}.{comma[2]}"
    if cell.lower() == "nan":
        return float("nan")
    if not NUMBER.fullmatch(cell) or (number := float(cell)) in (float("inf"), float("-inf")):
        raise ValueError("it is no number")
    return number
