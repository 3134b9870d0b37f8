"""The implementations that tests compare with: optional for a user, never missing in CI (see test_peers)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from models.cnn14 import audioset_labels


def peer(name: str) -> ModuleType:
    """A module of `requirements-peers.txt`; without it the tests of the calling file are skipped, with the reason."""
    try:
        return pytest.importorskip(name, reason=f"{name} of requirements-peers.txt is not installed")
    except (ImportError, OSError) as error:  # installed, but it does not load
        pytest.skip(f"{name} of requirements-peers.txt does not load: {error}", allow_module_level=True)


def panns_labels(home: Path) -> None:
    """Write the list of classes that `panns_inference` reads in the home directory, or fetches when it is imported."""
    lines = ["index,mid,display_name", *(f'{number},,"{name}"' for number, name in enumerate(audioset_labels()))]
    (home / "panns_data").mkdir()
    (home / "panns_data" / "class_labels_indices.csv").write_text("\n".join(lines), encoding="utf-8")
