"""Which checkpoint a training goes on from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from experiments.errors import UserError
from experiments.pretraining import RESUME_VARIABLE, _resume_from
from experiments.settings import PretrainSettings
from experiments.tracking import history
from experiments.tracking.run import RunHandle

SETTINGS = "0123456789abcdef"


@pytest.fixture(autouse=True)
def nothing_chosen_yet(monkeypatch):
    """The variable is as it was after each test."""
    monkeypatch.setenv(RESUME_VARIABLE, "")
    monkeypatch.delenv(RESUME_VARIABLE)


@pytest.fixture
def earlier(tmp_path):
    """Leaves an earlier run with the settings `SETTINGS`; gives the checkpoint in its folder."""

    def leave(key: str, status: str | None, made_by: str | None = SETTINGS, folder: Path | None = None) -> Path:
        directory = tmp_path / "runs" / key
        directory.mkdir(parents=True)
        records = [{"seq": 1, "time": 0.0, "kind": "start"}]
        if status:
            records.append({"seq": 2, "time": 1.0, "kind": "end", "status": status})
        (directory / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        history.remember(tmp_path / "runs", SETTINGS, key)
        checkpoint = (folder or directory / "checkpoints") / "last.ckpt"
        if made_by:
            checkpoint.parent.mkdir(exist_ok=True)
            state = {"state_dict": {"net.weight": torch.zeros(1)}, "hyper_parameters": {"run_fingerprint": made_by}}
            torch.save(state, checkpoint)
        return checkpoint

    return leave


def resume(tmp_path, **trainer) -> Path | None:
    settings = PretrainSettings(resume=True, trainer=trainer)
    return _resume_from(settings, RunHandle(tmp_path / "runs" / "now", 0, fingerprint=SETTINGS))


def test_the_newest_unfinished_run_is_continued(earlier, tmp_path):
    earlier("1", "FAILED")
    checkpoint = earlier("2", None)
    earlier("3", "FAILED", made_by=None)  # before its first epoch was whole
    assert resume(tmp_path) == checkpoint


def test_a_finished_run_is_said_and_no_older_one_is_continued(earlier, tmp_path, capsys):
    earlier("1", "INTERRUPTED")
    earlier("2", "COMPLETED")
    assert resume(tmp_path) is None
    assert "run with these settings, 2, is finished; starting from the beginning" in capsys.readouterr().err


@pytest.mark.parametrize("made_by", ["fedcba9876543210", ""])
def test_a_checkpoint_of_other_settings_in_a_shared_folder_is_left_alone(earlier, tmp_path, capsys, made_by):
    shared = tmp_path / "shared"
    checkpoint = earlier("1", "INTERRUPTED", folder=shared)
    assert resume(tmp_path, checkpoint_dir=str(shared)) == checkpoint
    torch.save(
        {"state_dict": {"net.weight": torch.zeros(1)}, "hyper_parameters": {"run_fingerprint": made_by}}, checkpoint
    )
    assert resume(tmp_path, checkpoint_dir=str(shared)) is None
    assert f"{checkpoint} is of a run with other settings" in capsys.readouterr().err


def test_other_ranks_take_the_choice_of_rank_zero(earlier, tmp_path, monkeypatch):
    checkpoint, settings = earlier("1", "INTERRUPTED"), PretrainSettings(resume=True)
    other = RunHandle(tmp_path / "runs" / "now", 0, is_global_zero=False)
    with pytest.raises(UserError, match="start one process"):
        _resume_from(settings, other)
    assert resume(tmp_path) == _resume_from(settings, other) == checkpoint
    monkeypatch.setitem(os.environ, RESUME_VARIABLE, "")
    assert _resume_from(settings, other) is None
