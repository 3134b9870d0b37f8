"""Which checkpoint a training goes on from, and whose checkpoints a folder holds."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from pathlib import Path

import pytest
import torch

from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
from experiments.tracking.journal import Journal
from experiments.tracking.run import Recorder
from experiments.training.continuing import CLAIM, OWNER, RESUME_VARIABLE, resume_from, same_data

SETTINGS = "0123456789abcdef"


@pytest.fixture(autouse=True)
def nothing_chosen_yet(monkeypatch):
    """The variable is as it was after each test."""
    monkeypatch.setenv(RESUME_VARIABLE, "")
    monkeypatch.delenv(RESUME_VARIABLE)


def leave(folder: Path, step: int, name: str = "last", made_by: str = SETTINGS) -> Path:
    """A checkpoint, as far as it is looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = {"state_dict": {}, "optimizer_states": [], "lr_schedulers": []}
    torch.save(
        {"hyper_parameters": {"run_fingerprint": made_by}, "global_step": step, **needed}, folder / f"{name}.ckpt"
    )
    return folder / f"{name}.ckpt"


def handle(tmp_path, key="now", origin=None, **more) -> RunHandle:
    origin = tmp_path / "runs" / origin if origin else None
    run = RunHandle(tmp_path / "runs" / key, 0, fingerprint=SETTINGS, origin=origin, **more)
    run.rewound = []
    run.rewind = run.rewound.append
    return run


def settings(resume=True, **trainer) -> PretrainSettings:
    return PretrainSettings(resume=resume, trainer=trainer)


def journal(tmp_path, key: str, status: str | None) -> Path:
    directory = tmp_path / "runs" / key
    directory.mkdir(parents=True, exist_ok=True)
    records = [{"seq": 1, "time": 0.0, "kind": "start", "document": {}}]
    if status:
        records.append({"seq": 2, "time": 1.0, "kind": "end", "status": status})
    (directory / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return directory


def test_the_checkpoint_with_the_most_steps_is_gone_on_from(tmp_path):
    folder = tmp_path / "runs" / "now" / "checkpoints"
    leave(folder, 20, "best")
    last, cut = leave(folder, 10), leave(folder, 12, "interrupted")
    run = handle(tmp_path, origin="now")
    assert resume_from(settings(), run) == cut
    assert run.rewound == [12]
    leave(folder, 15)
    assert resume_from(settings(), run) == last
    requeued = leave(tmp_path / "runs" / "now", 17, "hpc_ckpt_1")
    assert resume_from(settings(), run) == requeued


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, capsys):
    run = handle(tmp_path, origin="now")
    assert resume_from(settings(), run) is None
    assert run.rewound == [0]
    assert "run now left no checkpoint" in capsys.readouterr().err


def test_a_linked_run_goes_on_from_the_checkpoint_of_the_other(tmp_path):
    found = leave(tmp_path / "runs" / "before" / "checkpoints", 5)
    run = handle(tmp_path, origin="before")
    assert resume_from(settings(), run) == found
    assert run.rewound == []


def test_f07_no_checkpoint_is_looked_for_at_a_beginning(tmp_path):
    leave(tmp_path / "runs" / "now" / "checkpoints", 5)
    assert resume_from(settings(), handle(tmp_path)) is None


def test_damaged_checkpoints_and_those_of_other_settings_are_left_aside(tmp_path, capsys):
    folder = tmp_path / "runs" / "now" / "checkpoints"
    last = leave(folder, 5)
    cut = leave(folder, 9, "interrupted", made_by="fedcba9876543210")
    run = handle(tmp_path, origin="now")
    assert resume_from(settings(), run) == last
    assert f"{cut} is of a run with other settings" in capsys.readouterr().err
    last.unlink()
    assert resume_from(settings(), run) is None
    last = leave(folder, 5)
    cut = leave(folder, 9, "interrupted")
    os.truncate(cut, cut.stat().st_size // 2)
    assert resume_from(settings(), run) == last
    assert f"{cut} is damaged or cut short: passed over\ngoing on from {last}" in capsys.readouterr().err


def test_nothing_is_trained_again_where_the_only_checkpoint_is_damaged(tmp_path):
    folder = tmp_path / "runs" / "now" / "checkpoints"
    cut = leave(folder, 9, "interrupted")
    os.truncate(cut, cut.stat().st_size // 2)
    run = handle(tmp_path, origin="now")
    with pytest.raises(UserError, match=r"interrupted\.ckpt is damaged .* no other checkpoint .* without resume=True"):
        resume_from(settings(), run)
    assert run.rewound == []
    kept = leave(folder, 4, "epoch=2")
    assert resume_from(settings(), run) == kept


def test_a_checkpoint_of_weights_alone_is_refused(tmp_path):
    path = leave(tmp_path / "runs" / "now" / "checkpoints", 9, "interrupted")
    content = torch.load(path, weights_only=True)
    del content["optimizer_states"]
    torch.save(content, path)
    with pytest.raises(UserError, match=r"interrupted\.ckpt holds no state .*no optimizer_states.*delete or move it"):
        resume_from(settings(), handle(tmp_path, origin="now"))


def test_ranks_that_rank_zero_launches_take_its_choice(tmp_path):
    found = leave(tmp_path / "runs" / "now" / "checkpoints", 5)
    other = handle(tmp_path, is_global_zero=False)
    assert resume_from(settings(), other) is None
    assert resume_from(settings(), handle(tmp_path, origin="now")) == found
    assert resume_from(settings(), other) == found
    found.unlink()
    with pytest.raises(UserError, match="does not see the checkpoint"):
        resume_from(settings(), other)


@pytest.mark.parametrize("status", ["COMPLETED", "INTERRUPTED", None])
def test_a_folder_with_the_checkpoints_of_another_run_is_refused(tmp_path, status):
    shared, where = tmp_path / "weights", {"checkpoint_dir": str(tmp_path / "weights")}
    first = journal(tmp_path, "first", status)
    assert resume_from(settings(False, **where), handle(tmp_path, "first")) is None
    assert json.loads((shared / OWNER).read_text()) == {"run": str(first)}
    found = leave(shared, 5)
    with pytest.raises(UserError, match=r"weights holds last\.ckpt of run first \(") as refused:
        resume_from(settings(False, **where), handle(tmp_path, "second"))
    assert ("go on with first" in str(refused.value)) == (status != "COMPLETED")
    assert resume_from(settings(**where), handle(tmp_path, "first", "first")) == found
    assert resume_from(settings(**where), handle(tmp_path, "second", "first")) == found  # linked: it takes over
    with pytest.raises(UserError, match="of run second"):
        resume_from(settings(False, **where), handle(tmp_path, "third"))


def test_a_folder_in_which_a_living_run_has_saved_nothing_yet_is_refused_too(tmp_path):
    where = {"checkpoint_dir": str(tmp_path / "weights")}
    first = journal(tmp_path, "first", None)
    resume_from(settings(False, **where), handle(tmp_path, "first"))
    with open(first / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="of run first"):
            resume_from(settings(False, **where), handle(tmp_path, "second"))
    assert resume_from(settings(False, **where), handle(tmp_path, "second")) is None


def test_others_who_may_read_a_folder_of_checkpoints_cannot_keep_its_owner_waiting(tmp_path):
    (tmp_path / "weights").mkdir()
    looks = os.open(tmp_path / "weights", os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_EX)
    resume_from(settings(False, checkpoint_dir=str(tmp_path / "weights")), handle(tmp_path, "first"))
    os.close(looks)
    assert stat.S_IMODE((tmp_path / "weights" / CLAIM).stat().st_mode) == 0o600


def test_runs_that_begin_at_the_same_time_claim_a_folder_one_by_one(tmp_path):
    folder, first = tmp_path / "weights", journal(tmp_path, "first", None)
    folder.mkdir()
    said = []

    def begin() -> None:
        try:
            resume_from(settings(False, checkpoint_dir=str(folder)), handle(tmp_path, "second"))
        except UserError as error:
            said.append(str(error))

    second = threading.Thread(target=begin)
    looks = os.open(folder / CLAIM, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looks, fcntl.LOCK_EX)
    with open(first / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        (folder / OWNER).write_text(json.dumps({"run": str(first)}))
        os.close(looks)
        second.join()
    assert "holds the checkpoints-to-be of run first (running)" in said[0]


def test_checkpoints_without_a_known_owner_are_not_overwritten(tmp_path):
    leave(tmp_path / "weights", 5, "best")
    with pytest.raises(UserError, match=r"holds best\.ckpt of another training"):
        resume_from(settings(False, checkpoint_dir=str(tmp_path / "weights")), handle(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"taken: no checkpoints can be written there .*trainer\.checkpoint_dir"):
        resume_from(settings(False, checkpoint_dir=str(tmp_path / "taken")), handle(tmp_path))
    assert os.environ.get(RESUME_VARIABLE) is None


def test_a_training_goes_on_with_the_tracks_and_classes_that_it_began_with(tmp_path):
    run = RunHandle(tmp_path / "run", 0, Recorder(Journal.create(tmp_path, "run", home=tmp_path)))
    before = {"classes": 2, "tracks": {"train": 8, "valid": 1}, "classes_fingerprint": "a", "split_fingerprint": "b"}
    run.set_info(data=before)
    same_data(before, run)
    same_data(None, run)
    run.set_info(data={**before, "tracks": {"train": 9, "valid": 1}, "split_fingerprint": "c"})
    with pytest.raises(UserError, match=r"other tracks \(2 classes and 8 train \+ 1 valid tracks, now 2 .* 9 train"):
        same_data(before, run)
    assert run.known("data") == before  # so that it is noticed the next time too
    run.set_info(data={**before, "classes_fingerprint": "d"})
    with pytest.raises(UserError, match="other classes"):
        same_data(before, run)
