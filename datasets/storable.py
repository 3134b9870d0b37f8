"""What may be stored: any Python value becomes plain JSON.

A value that cannot be stored is replaced, never refused, and the replacement is named, so that no value that a program
produces can end its own recording. Keys are such that a document database can address them.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

TEXT_LIMIT = 64 * 1024  # characters kept of one string
RECORD_LIMIT = 4 * 1024 * 1024  # approximate bytes kept of one value, all its parts together
DEPTH_LIMIT = 32
SUMMARY_LIMIT = 1_000_000  # elements: larger arrays are described by shape and type alone
INT64 = 1 << 63

Changes = dict[str, str]
Point = list[Any]


def storable(value: Any, name: str = "", limit: int = RECORD_LIMIT) -> tuple[Any, Changes]:
    """A plain JSON value (None, bool, int, finite float, str, list, dict with text keys) that stands for `value`.

    Args:
        value: anything.
        name: the dotted path that `value` goes by in the returned changes.
        limit: approximate bytes kept; what comes after is left out.

    Returns:
        The plain value, and what was changed on the way: dotted path -> one phrase. Python and numpy numbers, text,
        lists, tuples and dicts with text keys pass without a word.
    """
    changes: Changes = {}
    return _Plain(changes, limit).convert(value, name, 0), changes


def metric_points(points: Iterable[Sequence[Any]], name: str = "") -> tuple[list[Point], Changes]:
    """The points of a curve as `[step, value, unix time]` of plain finite numbers; what is not a number is left out.

    Integers beyond 63 bits become floats, booleans 0 and 1, arrays and tensors of one element their element.

    Returns:
        The points that can be drawn, and what was changed or left out, under the name of the curve.
    """
    kept, changes = [], {}
    for step, value, when in points:
        if type(value) is float and type(step) is int and math.isfinite(value) and -INT64 <= step < INT64:
            kept.append([step, value, float(when)])
            continue
        number, change = _number(value)
        place, step_change = _number(step)
        if change or step_change:
            _add(changes, name, change or f"step: {step_change}")
        if number is None or place is None or not math.isfinite(number) or not math.isfinite(place):
            if not change:
                _add(changes, name, f"value {number} at step {place} left out: not finite")
            continue
        kept.append([int(place) if place == int(place) and abs(place) < INT64 else place, float(number), float(when)])
    return kept, changes


def _add(changes: Changes, name: str, what: str) -> None:
    known = changes.get(name)
    if known is None or what not in known:
        changes[name] = what if known is None else f"{known}; {what}"[:500]


@dataclasses.dataclass
class NonFinite:
    """How many values of a series were NaN or infinite, and at which steps the first and the last of them stood."""

    count: int = 0
    first: float | None = None
    last: float | None = None

    def add(self, step: float) -> None:
        self.count += 1
        self.first = step if self.first is None else self.first
        self.last = step


def is_nonfinite(value: Any) -> bool:
    """Whether a value is a number (or an array of one) that is NaN or infinite."""
    number, _ = _number(value)
    return number is not None and not math.isfinite(number)


def _number(value: Any) -> tuple[float | int | None, str | None]:
    """The number in `value` (None when there is none) and what had to be done to get it."""
    if isinstance(value, (int, float)):
        if isinstance(value, int) and not -INT64 <= value < INT64:
            try:
                return float(value), "integer beyond 63 bits stored as a float"
            except OverflowError:
                return None, "integer beyond the range of floats left out"
        return float(value) if isinstance(value, float) else int(value), None
    plain, changes = storable(value)
    if isinstance(plain, (int, float)):
        return plain, next(iter(changes.values()), None)
    if plain in ("nan", "inf", "-inf"):
        return float(plain), None
    return None, f"{_kind(value)} left out: not a number"


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


class _Plain:
    """One conversion: carries the list of changes and what is left of the size limit."""

    def __init__(self, changes: Changes, limit: int):
        self.changes, self.limit, self.left = changes, limit, limit

    def convert(self, value: Any, path: str, depth: int) -> Any:
        """The plain form of one part, or what stands for it when it cannot be had or there is no room left."""
        if self.left <= 0:
            return self._left_out(path)
        try:
            plain = self._convert(value, path, depth)
        except Exception as error:  # a foreign object's own code may raise anything
            plain = self._note(
                path, f"<{_kind(value)}>", f"{_kind(value)} replaced by its type: {type(error).__name__}"
            )
        self.left -= len(plain) + 4 if isinstance(plain, str) else 8
        return plain

    def _convert(self, value: Any, path: str, depth: int) -> Any:
        if value is None or type(value) is bool:
            return value
        if isinstance(value, enum.Enum):
            text = value.value if isinstance(value.value, str) else value.name
            return self._note(path, self._text(text, path), f"{_kind(value)} stored as text")
        if isinstance(value, str):
            return self._text(str(value), path)
        if isinstance(value, int):
            return self._integer(int(value), path)
        if isinstance(value, float):
            return self._float(float(value), path)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if depth >= DEPTH_LIMIT:
                return self._note(path, f"<{_kind(value)}>", f"left out: deeper than {DEPTH_LIMIT} levels")
            return self._container(value, path, depth)
        return self._foreign(value, path, depth)

    def _container(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        items = value
        if isinstance(value, set | frozenset):
            self._note(path, None, "set stored as a sorted list")
            items = sorted(value, key=lambda item: (_kind(item), str(item) if not isinstance(item, int) else "", item))
        plain = []
        for index, item in enumerate(items):
            if self.left <= 0:
                self._left_out(path)
                break
            plain.append(self.convert(item, f"{path}.{index}" if path else str(index), depth + 1))
        return plain

    def _mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if self.left <= 0:
                self._left_out(path)
                break
            text = storable_key(key)
            here = f"{path}.{text}" if path else text
            if text != key:
                self._note(here, None, f"key {str(key)[:80]!r} stored as {text[:80]!r}")
            while text in plain:
                text += "~"
            self.left -= len(text)
            plain[text] = self.convert(item, here, depth + 1)
        return plain

    def _foreign(self, value: Any, path: str, depth: int) -> Any:
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biufU":
            return self._convert(value.item(), path, depth)
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self._array(value, value.size, path, depth)
        if torch is not None and isinstance(value, torch.Tensor):
            return self._array(value.detach(), value.numel(), path, depth)
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return self._note(path, value.isoformat(), f"{_kind(value)} stored as text")
        if isinstance(value, PurePath) or type(value).__name__.lower().endswith("dtype"):
            return self._note(path, self._text(str(value), path), f"{_kind(value)} stored as text")
        if isinstance(value, bytes | bytearray):
            return self._note(path, f"<{len(value)} bytes>", "bytes replaced by their number")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return self._note(path, self._mapping(fields, path, depth), f"{_kind(value)} stored as a dict")
        if callable(value):
            label = f"<{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', _kind(value))}>"
            return self._note(path, label, f"{_kind(value)} replaced by its name")
        return self._note(path, self._text(repr(value), path), f"{_kind(value)} stored as its text")

    def _array(self, value: Any, size: int, path: str, depth: int) -> Any:
        what = f"{_kind(value)} of shape {list(value.shape)}"
        if size == 1:
            item = value.reshape(-1)[0].item()
            return self._note(path, self._convert(item, path, depth), f"{what} stored as a number")
        summary: dict[str, Any] = {"shape": [int(n) for n in value.shape], "dtype": str(value.dtype)}
        if (
            0 < size <= SUMMARY_LIMIT
            and "complex" not in str(value.dtype)
            and getattr(value.dtype, "kind", "f") in "biuf"
        ):
            numbers = value.double() if hasattr(value, "double") else value.astype(float)
            for label in ("min", "mean", "max"):
                number = float(getattr(numbers, label)())
                summary[label] = number if math.isfinite(number) else str(number)
        return self._note(path, summary, f"{what} replaced by its shape and summary")

    def _text(self, text: str, path: str) -> str:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text
        keep = min(TEXT_LIMIT, max(self.left, 0))
        if len(text) > keep:
            return self._note(path, text[:keep] + " […]", f"text of {len(text)} characters cut to {keep}")
        return text

    def _integer(self, number: int, path: str) -> int | str:
        if -INT64 <= number < INT64:
            return number
        text = str(number) if number.bit_length() < 4096 else hex(number)[:1024]
        return self._note(path, text, "integer beyond 63 bits stored as text")

    def _float(self, number: float, path: str) -> float | str:
        return number if math.isfinite(number) else self._note(path, str(number), f"{number} stored as text")

    def _left_out(self, path: str) -> str:
        return self._note(path, "<left out>", f"cut: more than {self.limit / 2**20:.1f} MB in one record")

    def _note(self, path: str, plain: Any, what: str) -> Any:
        self.changes.setdefault(path, what)
        return plain


def storable_key(key: Any) -> str:
    """A dict key as a document database can address it: text, `.` as `,`, a leading `$` as `@`, never empty."""
    text = key if isinstance(key, str) else str(getattr(key, "value", key)) if isinstance(key, enum.Enum) else str(key)
    text = text.replace(".", ",").replace("\0", "") or "(empty)"
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return "@" + text[1:] if text[0] == "$" else text[:1024]
