"""Modules of the user's own that this process may import: those that a setting or a caller named, never a file."""

from __future__ import annotations

_named: set[str] = set()


def allow(name: str) -> None:
    """Let a module be imported; `package.module`, or `package.module:Class` as settings have it."""
    _named.add(name.partition(":")[0])


def allowed() -> frozenset[str]:
    """The modules that were named so far."""
    return frozenset(_named)
