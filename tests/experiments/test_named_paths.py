"""Files and folders that a command line names are looked for before a run begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.errors import UserError
from experiments.named_paths import check_given

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music").mkdir()
    (tmp_path / "song.wav").touch()


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("datamodule.base_dir", "nowhere", "no such folder"),
        ("datamodule.base_dir", "song.wav", "a file; give the folder it is in"),
        ("inference.audio", "gone.mp3", "no such file or folder"),
    ],
)
def test_what_is_not_there_is_refused_and_leaves_no_run(key, value, why, capfd):
    from ex_pretrain import ex

    with pytest.raises(SystemExit) as ended:
        ex.run_commandline([str(ROOT / "ex_pretrain.py"), "predict", "with", f"{key}={value}", "tracking.mongo=off"])
    assert ended.value.code == 1
    assert capfd.readouterr().err == f"error: {key}={value}: {why}\n"
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "assignments",
    [
        {},
        {"datamodule.base_dir": None},
        {"datamodule.base_dir": "music", "inference.audio": "song.wav"},
        {"inference.audio": "music"},
        {"inference.out_dir": "new"},
    ],
)
def test_what_is_there_or_will_be_made_passes(assignments):
    check_given(assignments)


def test_a_corpus_that_can_be_prepared_is_left_to_who_knows_the_command():
    check_given({"datamodule.base_dir": "data/mtt/audio"})


def test_a_path_below_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    check_given({"datamodule.base_dir": "~/music"})
    with pytest.raises(UserError, match="~/gone: no such folder"):
        check_given({"datamodule.base_dir": "~/gone"})
