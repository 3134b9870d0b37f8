"""Front ends: audio to what a network sees, one file a family, one row a name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from models.frontends.base import FrontEnd
from models.frontends.musicnn import MusiCNNMel

FRONTENDS: dict[str, Callable[..., FrontEnd]] = {
    "musicnn": MusiCNNMel,
    "musicnn_torch": partial(MusiCNNMel, variant="torch"),
}


def build(name: str) -> FrontEnd:
    """Make a front end by its name in `FRONTENDS`.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    if name not in FRONTENDS:
        raise ValueError(f"frontend={name!r}: known front ends are {', '.join(FRONTENDS)}")
    return FRONTENDS[name]()


__all__ = ["FRONTENDS", "FrontEnd", "MusiCNNMel", "build"]
