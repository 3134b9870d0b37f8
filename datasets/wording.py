"""Counts as people say them."""

from __future__ import annotations


def counted_noun(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun, and its verb where that is given too: `1 track`, `2,000 tracks`, `1 track is`.

    Args:
        count: How many there are.
        noun: What one is called; a verb may follow.
        nouns: What several are called; None: the noun with an s, or es behind an s.
    """
    several = nouns or f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{count:,} {noun if count == 1 else several}"
