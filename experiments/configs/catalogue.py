"""Which named configs each script offers: whatever the files of this folder hold.

A file gives named configs to scripts as the dictionaries `PRETRAIN`, `TRANSFER` and `PROBE`, says under which heading
they are listed (`TITLE`), and brings sizes of its networks for the scales of `experiments.configs.scales` as `SIZES`,
by network and scale. A new system is a new file, and nothing else changes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.configs.named import NamedConfig


def gather(script: str, modules: Iterable[ModuleType]) -> dict[str, NamedConfig]:
    """The named configs of a script: systems, what is composed with them, other names.

    Args:
        script: `PRETRAIN`, `TRANSFER` or `PROBE`.
        modules: Of named configs.

    Raises:
        ValueError: Two files have a config of one name.
    """
    modules = list(modules)
    found: dict[str, NamedConfig] = {}
    for module in modules:
        for name, config in getattr(module, script, {}).items():
            if name in found:
                raise ValueError(f"two named configs are called {name}: one is of {module.__name__}")
            found[name] = replace(_sized(name, config, modules), group=config.group or module.TITLE)
    return dict(sorted(found.items(), key=lambda item: (bool(item[1].stands_for), not item[1].system)))


def _sized(name: str, config: NamedConfig, modules: Iterable[ModuleType]) -> NamedConfig:
    """A scale with the sizes that systems bring for it."""
    if config.system:
        return config
    sizes: dict[str | None, Mapping[str, Any]] = dict(config.by_network)
    for module in modules:
        own = getattr(module, "SIZES", {})
        sizes |= {network: scales[name] for network, scales in own.items() if name in scales}
    return replace(config, by_network=sizes)


def _modules() -> list[ModuleType]:
    names = (file.name for file in pkgutil.iter_modules([str(Path(__file__).parent)]))
    modules = [importlib.import_module(f"{__package__}.{name}") for name in names if name != "catalogue"]
    return [module for module in modules if hasattr(module, "TITLE")]


PRETRAIN, TRANSFER, PROBE = (gather(script, _modules()) for script in ("PRETRAIN", "TRANSFER", "PROBE"))
