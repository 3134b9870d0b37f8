"""What a named config is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedConfig:
    """A piece of configuration with a name, to be composed left to right on the command line.

    Attributes:
        description: One line, shown by `print_named_configs`.
        values: Nested dictionary of settings; what it does not name keeps its default.
    """

    description: str
    values: Mapping[str, Any]
