"""What a named config is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANY = "*"  # any network


@dataclass(frozen=True)
class NamedConfig:
    """A piece of configuration with a name, to be composed left to right on the command line.

    Attributes:
        description: One line, shown by `print_named_configs`.
        values: Nested dictionary of settings; what it does not name keeps its default.
        by_network: Further values by the network that is chosen, its name in `model.network`: `ANY` for all, None where
            there is none.
        by_scale: Further values where it is composed with another config, by its name, the later ones over the earlier;
            such as the demo corpus in the place of a published one, with a scale of `experiments.configs.scales`.
        system: Whether it chooses what is trained or applied; all others are laid over it, wherever they stand.
        group: Heading under which it is listed.
        stands_for: The name that it is another name of; empty where it is its own.
        networks: Those that it is for; empty: any.
        otherwise: What to do where another network is chosen, or none.
    """

    description: str
    values: Mapping[str, Any]
    by_network: Mapping[str | None, Mapping[str, Any]] = field(default_factory=dict)
    by_scale: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    system: bool = False
    group: str = ""
    stands_for: str = ""
    networks: tuple[str, ...] = ()
    otherwise: str = ""

    def layers(self, network: str | None) -> list[Mapping[str, Any]]:
        """Its values with a network, the later ones over the earlier."""
        names = [None] if network is None else [ANY, network]
        return [self.values, *(self.by_network[name] for name in names if name in self.by_network)]
