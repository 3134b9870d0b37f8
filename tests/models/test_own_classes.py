"""Classes of the user's own."""

from __future__ import annotations

import sys

import pytest

from models.own_classes import import_class


class Base:
    """What a class must be."""


class Own(Base):
    """One that is."""


HERE = Own.__module__


def test_a_class_of_an_allowed_module_is_imported():
    assert import_class(f"{HERE}:Own", Base, {HERE}) is Own


@pytest.mark.parametrize("name", ["Own", "", ":Own", "a b:Own", "a:", "a.b", "a:b:c", "../a:Own", ".a:Own", "a:Own.x"])
def test_another_form_is_refused(name):
    with pytest.raises(ValueError, match=r"does not name a class: expected package\.module:Class"):
        import_class(name, Base, {"a", HERE})


def test_a_module_that_nobody_named_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="module stranger, which is only imported where you name it"):
        import_class("stranger:Own", Base, {"strange"})
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:Own", "cannot be imported .ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{HERE}:Other", "cannot be imported .AttributeError: .*no attribute 'Other'"),
        (f"{HERE}:HERE", "is no subclass of .*Base"),
        (f"{HERE}:pytest", "is no subclass"),
    ],
)
def test_what_is_no_such_class_is_named(name, why):
    with pytest.raises(ValueError, match=why):
        import_class(name, Base, {name.partition(":")[0]})
