"""Front ends: audio to what a network sees, one file a family, found by the names of their classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from models.arguments import checked_values
from models.frontends.base import FrontEnd
from models.frontends.musicnn import MusiCNNMel
from models.own_classes import find_class, named_classes

SETTING = "model.frontend"


def names() -> list[str]:
    """Names of the front ends of this project, sorted."""
    return [*named_classes("models/frontends", "FrontEnd")]


def find(name: str, allowed: Collection[str] = ()) -> type[FrontEnd]:
    """The class of a front end.

    Args:
        name: One of `names()`, or `package.module:Class`.
        allowed: Modules outside of this project that may be imported; see `models.own_classes`.

    Raises:
        ValueError: There is none; see `models.own_classes.find_class`.
    """
    return find_class(name, FrontEnd, "models/frontends", "front end", allowed, SETTING)


def build(name: str | type[FrontEnd], allowed: Collection[str] = (), **arguments: Any) -> FrontEnd:
    """Make a front end.

    Args:
        name: See `find`; or the class itself.
        allowed: See `find`.
        arguments: Of its constructor.

    Raises:
        ValueError: There is none of that name, or it does not take these arguments.
    """
    kind = find(name, allowed) if isinstance(name, str) else name
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ValueError(f"front end {kind.name}: {error}") from error


def build_with(
    name: str | type[FrontEnd], usual: Mapping[str, Any], given: Mapping[str, Any], allowed: Collection[str] = ()
) -> FrontEnd:
    """Make a front end with arguments of the user over its usual ones.

    Args:
        name: See `build`.
        usual: Of its constructor.
        given: Of its constructor, by the user.
        allowed: See `find`.

    Raises:
        ValueError: See `build` and `models.arguments.checked_values`.
    """
    kind = find(name, allowed) if isinstance(name, str) else name
    return build(kind, **{**usual, **(checked_values(kind, given) if given else {})})


__all__ = ["FrontEnd", "MusiCNNMel", "build", "build_with", "find", "names"]
