"""Modules that know their name and the arguments that make them again: networks and front ends."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn


class Named(nn.Module):
    """A module with a name in settings and files, and its constructor's arguments as plain values.

    `class FCN(Network, name="fcn")` names a class; one without a name goes by `package.module:Class`, as a user's own.

    Attributes:
        name: Of the class.
        hyperparameters: Every argument of the constructor, defaults included; tuples become lists.
    """

    name: ClassVar[str] = ""
    hyperparameters: dict[str, Any]

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = name or f"{cls.__module__}:{cls.__qualname__}"

    def __new__(cls, *args: Any, **kwargs: Any) -> Named:
        made = super().__new__(cls)
        try:
            bound = inspect.signature(cls).bind_partial(*args, **kwargs)
        except TypeError:  # the constructor itself says it better
            return made
        bound.apply_defaults()
        object.__setattr__(made, "hyperparameters", plain(bound.arguments))
        return made


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON keeps them: tuples as lists."""
    return {name: list(value) if isinstance(value, tuple | list) else value for name, value in arguments.items()}
