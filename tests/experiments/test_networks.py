"""Which file a name of a checkpoint means."""

from __future__ import annotations

import pytest

from experiments.errors import UserError
from experiments.networks import _from_nothing, checkpoint_file


def test_the_best_of_what_a_run_left_is_taken(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("interrupted.ckpt", "last.ckpt", "best.ckpt"):
        (folder / name).touch()
        assert checkpoint_file(str(tmp_path)) == folder / name
        assert checkpoint_file(str(folder)) == folder / name
        assert checkpoint_file(str(folder / name)) == folder / name


def test_a_folder_without_a_checkpoint_and_a_missing_file_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="no checkpoint in this folder"):
        checkpoint_file(str(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        checkpoint_file(str(tmp_path / "gone.ckpt"))


def test_the_way_out_without_a_download_exists():
    from experiments.configs.catalogue import PRETRAIN

    assert _from_nothing(30).split(": ")[1] in PRETRAIN
    assert _from_nothing(7.0).endswith("model.pretrained=None")
