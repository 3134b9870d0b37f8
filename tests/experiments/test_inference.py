"""What extraction says about its input."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from experiments.inference import _tell_of_gone


@pytest.fixture
def source(tmp_path):
    """A folder of two files, and a store beside it."""
    for name in ("here.ogg", "also.ogg"):
        (tmp_path / name).touch()
    return SimpleNamespace(base_dir=tmp_path, features=SimpleNamespace(path=tmp_path / "mels"))


def test_tracks_whose_audio_was_deleted_are_counted(source, capsys):
    _tell_of_gone(source, ["here.ogg", "gone.ogg", "also.ogg", "gone too.ogg"])
    said = capsys.readouterr().err
    assert "2 tracks are in the store" in said
    assert "'gone.ogg'" in said
    _tell_of_gone(source, ["here.ogg", "also.ogg"])
    assert not capsys.readouterr().err


def test_a_store_that_was_given_as_such_has_no_audio_to_miss(source, capsys):
    source.features.path = source.base_dir
    _tell_of_gone(source, ["gone.ogg"])
    assert not capsys.readouterr().err
