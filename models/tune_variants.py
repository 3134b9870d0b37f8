"""The ablations of the TUNe paper as arguments of `models.tune.TUNe`: `TUNe(**VARIANTS["vanilla"])`.

The width is chosen so that a variant has about as many parameters as the others, 2.3 million.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def doubling(width: int, *more: int, levels: int = 3) -> tuple[int, ...]:
    """Channels of a tail: twice the width and on, so many levels, and what follows."""
    return (*(width * 2**level for level in range(1, levels + 1)), *more)


def contractive(deeper: int, width: int) -> dict[str, Any]:
    """Vanilla with so many levels more below the bottom."""
    return {"width": width, "levels_down": 4 + deeper, "levels_up": 4 + deeper, "tail": doubling(width)}


def expansive(fewer: int, width: int) -> dict[str, Any]:
    """Vanilla without so many of the last levels on the way up, and of the first of the tail."""
    return {"width": width, "levels_up": 4 - fewer, "tail": doubling(width)[fewer:]}


def tailed(longer: int, width: int, extra: int | None = None) -> dict[str, Any]:
    """Vanilla with so many levels more in the tail, those that are `extra` as wide; None: 32 times the width."""
    return {"width": width, "tail": doubling(width, *[extra or 32 * width] * (longer - 1), levels=4)}


def sized(size: int, *first: int) -> dict[str, Any]:
    """TUNe+ with representations of another size, in whose tail all levels but the first are as wide."""
    return {"tail": (*first, *[size] * (8 - len(first))), "size": size, "connections": True}


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "vanilla": {"width": 34, "tail": doubling(34)},
    "vanilla_xs": {"width": 11, "tail": doubling(11)},
    "contractive_1": contractive(1, 18),
    "contractive_2": contractive(2, 9),
    "contractive_3": contractive(3, 4),
    "expansive_1": expansive(1, 34),
    "expansive_2": expansive(2, 35),
    "expansive_3": expansive(3, 38),
    "tail_1": tailed(1, 28),
    "tail_2": tailed(2, 19),
    "tail_3": tailed(3, 15),
    "tail_4": tailed(4, 13),
    "tail_5": tailed(5, 11),
    "plus": {**tailed(5, 11), "connections": True},
    "xl": tailed(5, 19, 512),
    "plus_xl": {"width": 34, "tail": doubling(34, *[512] * 5), "connections": True},
    "size_32": sized(32, 22, 44),
    "size_64": sized(64, 22, 44),
    "size_128": sized(128, 22, 44, 88),
    "size_256": sized(256, 22, 44, 88),
    "size_1024": sized(1024, 22, 44, 88, 176, 352, 704),
}
