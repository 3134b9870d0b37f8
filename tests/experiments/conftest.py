"""What tests of several rooms share."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from experiments import reports


@pytest.fixture
def axes(monkeypatch) -> list:
    """The axes of the pictures that are drawn, kept open."""
    kept, drawing = [], reports.picture

    @contextmanager
    def watched(*how):
        with drawing(*how) as given:
            yield given
            kept.extend(given)

    monkeypatch.setattr(reports, "picture", watched)
    return kept
