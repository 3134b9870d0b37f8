"""Classes by name: ours found by reading files, a user's imported where the user named the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models import frontends, networks
from models.frontends import FrontEnd
from models.network import Network
from models.own_classes import import_class, module_of, named_classes

ROOT = Path(__file__).parents[2]


class Base:
    """What a class must be."""


class Own(Base):
    """One that is."""


HERE = Own.__module__


def test_a_class_of_an_allowed_module_is_imported():
    assert import_class(f"{HERE}:Own", Base, {HERE}) is Own


@pytest.mark.parametrize("name", ["Own", "", ":Own", "a b:Own", "a:", "a.b", "a:b:c", "../a:Own", ".a:Own", "a:Own.x"])
def test_another_form_is_refused(name):
    assert module_of(name) is None
    with pytest.raises(ValueError, match=r"does not name a class: expected package\.module:Class"):
        import_class(name, Base, {"a", HERE})


def test_a_module_that_nobody_named_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"module stranger, which is only imported where .*model.network=stranger:Own"):
        networks.find("stranger:Own", {"strange"})
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "no_such_module:Own",
            "there is no module no_such_module; its folder must be the working directory .*PYTHONPATH",
        ),
        ("tests.no_such:Own", "there is no module tests.no_such"),
        (f"{HERE}:Owm", "has no class Owm; did you mean 'Own'"),
        (f"{HERE}:HERE", "is no subclass of .*Base"),
        (f"{HERE}:pytest", "is no subclass"),
    ],
)
def test_what_is_no_such_class_is_named(name, why):
    with pytest.raises(ValueError, match=why):
        import_class(name, Base, {module_of(name)})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_library", "needs no_such_library, which is not installed"),
        ("1 / 0", "cannot be imported .ZeroDivisionError: division by zero"),
        ("def", "cannot be imported .SyntaxError"),
    ],
)
def test_a_module_that_fails_says_why(tmp_path, monkeypatch, text, why):
    (tmp_path / "failing_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=why):
        import_class("failing_module:Net", Base, {"failing_module"})


def test_the_working_directory_counts(tmp_path):
    """As where a script in another folder is run, whose own folder alone is on the path."""
    (tmp_path / "mine.py").write_text("from models.network import Network\nclass Net(Network): pass\n")
    program = f"import sys; sys.path[:] = [{str(ROOT)!r}, *sys.path[1:]]; from models import networks; "
    program += "print(networks.find('mine:Net', {'mine'}).name)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "mine:Net", done.stderr


def test_ours_are_found_by_name_and_named_for_what_they_are():
    assert "maest" in networks.names()
    assert {"musicnn", "musicnn_torch", "waveform"} <= set(frontends.names())
    for name in networks.names():
        assert issubclass(networks.find(name), Network)
        assert networks.find(name).name == name
    for name in frontends.names():
        assert issubclass(frontends.find(name), FrontEnd)
        assert frontends.find(name).name == name
    assert networks.find("models.mlp:MLP").name == "models.mlp:MLP"


@pytest.mark.parametrize(
    ("find", "name", "why"),
    [
        (networks.find, "mast", "unknown network 'mast'; did you mean 'maest'.*Valid: .*maest.*package.module:Class"),
        (networks.find, "models.frontends.musicnn:MusiCNNMel", "is no subclass of models.network.Network"),
        (frontends.build, "musicn", "unknown front end 'musicn'; did you mean 'musicnn'"),
    ],
)
def test_other_names_are_refused_with_the_known_ones(find, name, why):
    with pytest.raises(ValueError, match=why):
        find(name)


def test_a_new_file_is_all_that_a_new_class_takes(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    (folder / "family").mkdir(parents=True)
    (folder / "one.py").write_text(
        'class One(Network, name="one"):\n    pass\n\nclass Other(One, name="other"): pass\n'
    )
    (folder / "family" / "two.py").write_text("class Two(\n    Network,\n    name='two',\n):\n    pass\n")
    (folder / "rest.py").write_text('class Mel(FrontEnd, name="mel"): pass\nclass Plain(Network): pass\n')
    monkeypatch.setattr("models.own_classes.ROOT", tmp_path)
    named_classes.cache_clear()
    try:
        found = named_classes("models", "Network")
    finally:
        named_classes.cache_clear()
    assert found == {"one": "models.one:One", "other": "models.one:Other", "two": "models.family.two:Two"}


def test_arguments_that_a_front_end_does_not_take_are_named():
    with pytest.raises(ValueError, match=r"front end musicnn: .*unexpected keyword argument 'bands'"):
        frontends.build("musicnn", bands=3)
