"""What a named config is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NamedConfig:
    """A piece of configuration with a name, to be composed left to right on the command line.

    Attributes:
        description: One line, shown by `print_named_configs`.
        values: Nested dictionary of settings; what it does not name keeps its default.
        by_network: Further values where `model.network` is of that name (None: where there is none), as sizes are.
        group: Heading under which it is listed.
        system: Whether it chooses what is trained or applied, which all others are composed with.
    """

    description: str
    values: Mapping[str, Any]
    by_network: Mapping[str | None, Mapping[str, Any]] = field(default_factory=dict)
    group: str = ""
    system: bool = False
