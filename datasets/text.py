"""Counts, names and values as people are told them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """A name as it is shown on a terminal or in a log: what would move a cursor, break a line, turn writing round or
    cannot be encoded is written out (`\\x1b`, `\\n`, `\\u202e`, `\\udcff`).

    Names of files, labels and tracks come from anywhere, and a terminal obeys what stands in them.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def printable_lines(text: object) -> str:
    """A message that may hold names: as `printable`, but its line breaks stay, and its tabs."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in str(text).split("\n"))


def shown(value: Any, most: int = 60) -> str:
    """The beginning of a value as a message names it, however long or deep it is."""
    try:
        return f"{value!r:.{most}}"
    except (RecursionError, ValueError):  # the latter of whole numbers with thousands of digits
        return f"a {type(value).__name__}"


def pluralize(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun, and its verb where that is given too: `1 track`, `2,000 tracks`, `1 track is`.

    Args:
        count: How many there are.
        noun: What one is called; a verb may follow.
        nouns: What several are called; None: the noun with an s, or es behind an s.
    """
    several = nouns or f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{count:,} {noun if count == 1 else several}"


def enumerated(things: Iterable[str], most: int = 6) -> str:
    """The first of a list, and how many more there are: `a, b and 3 more`."""
    things = list(things)
    return ", ".join(things[:most]) + (f" and {len(things) - most} more" if len(things) > most else "")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: the first column flush left, the others flush right."""
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
