"""What the records of a run set in its document: its information and its result, within bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bson

from experiments.tracking.run import OWN_INFO

LIMIT = 2 * 2**20  # bytes of `info` and `result` in a run document


class Information:
    """The information and the result of one run, as far as its journal has been read.

    Args:
        warn: called with the path of a value that is left out, and why.
    """

    def __init__(self, warn: Callable[[str, str], None]):
        self._warn = warn
        self._sizes: dict[str, int] = {}
        self._values: dict[str, Any] = {}  # `info.key` or `result` -> what the database should hold

    def begin(self, info: Mapping[str, Any]) -> None:
        """Note what a run begins with."""
        for key, value in info.items():
            self._sizes[f"info.{key}"] = size(value)
            if key not in OWN_INFO:
                self._values[f"info.{key}"] = value

    def allowed(self, values: Mapping[str, Any], seq: int) -> dict[str, Any]:
        """The changes that the record `seq` may make, by path."""
        allowed: dict[str, Any] = {}
        for path, value in _spread(values).items():
            root = path.split(".")[:2]
            if root[0] not in ("info", "result") or root in (["info", "metrics"], ["info", "tracking"]):
                self._warn(path, f"record {seq} may not set this")
                continue
            total = sum(self._sizes.values()) - self._sizes.get(path, 0) + size(value)
            if total > LIMIT:
                self._warn(path, f"left out: {size(value)} bytes more than the {LIMIT} that fit; it is in the journal")
                continue
            self._sizes[path] = size(value)
            allowed[path] = value
        return allowed

    def note(self, allowed: Mapping[str, Any]) -> None:
        """Remember what the database should hold from now on."""
        for path, value in allowed.items():
            keys = path.split(".")
            if len(keys) <= 2 or keys[0] == "result":
                self._values[path] = value
                continue
            here = self._values.setdefault(".".join(keys[:2]), {})
            for key in keys[2:-1]:
                here = here.setdefault(key, {}) if isinstance(here, dict) else None
            if isinstance(here, dict):  # else the database refuses it
                here[keys[-1]] = value

    def lacking(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """What a run document holds otherwise, or not at all: path -> value."""
        info = document.get("info") or {}
        return {
            path: value
            for path, value in self._values.items()
            if (document.get("result") if path == "result" else info.get(path.partition(".")[2])) != value
            and path.partition(".")[2] not in OWN_INFO
        }


def size(value: Any) -> int:
    """Bytes that a value takes in a document."""
    return len(bson.encode({"": value}))


def _spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"info": {"a": 1}}` as `{"info.a": 1}`: setting the whole would remove what others keep there."""
    spread: dict[str, Any] = {}
    for path, value in values.items():
        if path == "info" and isinstance(value, dict):
            spread |= {f"info.{key}": inner for key, inner in value.items()}
        else:
            spread[path] = value
    return spread
