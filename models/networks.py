"""Networks by name: a class `X(Network, name="x")` in a file of this folder is one, without a table to enter it in."""

from __future__ import annotations

from collections.abc import Collection

from models.network import Network
from models.own_classes import find_class, named_classes

SETTING = "model.network"


def names() -> list[str]:
    """Names of the networks of this project, sorted."""
    return [*named_classes("models", "Network")]


def find(name: str, allowed: Collection[str] = ()) -> type[Network]:
    """The class of a network.

    Args:
        name: One of `names()`, or `package.module:Class`.
        allowed: Modules outside of this project that may be imported; see `models.own_classes`.

    Raises:
        ValueError: There is none; see `models.own_classes.find_class`.
    """
    return find_class(name, Network, "models", "network", allowed, SETTING)
