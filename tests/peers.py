"""The implementations that tests compare with: optional for a user, never missing in CI (see test_peers)."""

from __future__ import annotations

from types import ModuleType

import pytest


def peer(name: str) -> ModuleType:
    """A module of `requirements-peers.txt`; without it the tests of the calling file are skipped, with the reason."""
    try:
        return pytest.importorskip(name, reason=f"{name} of requirements-peers.txt is not installed")
    except (ImportError, OSError) as error:  # installed, but it does not load
        pytest.skip(f"{name} of requirements-peers.txt does not load: {error}", allow_module_level=True)
