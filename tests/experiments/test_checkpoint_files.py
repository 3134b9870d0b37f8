"""Which file a name of a checkpoint means."""

from __future__ import annotations

import pytest

from experiments.checkpoint_files import checkpoint_file, digest
from experiments.errors import UserError


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


def test_a_name_that_is_nearly_a_release_is_told_which():
    with pytest.raises(UserError, match=r"did you mean musicnn_original_m\w\w or musicnn_original_m\w\w"):
        checkpoint_file("musicnn_original")
    with pytest.raises(UserError, match=r"or a release: .*passt_deit"):
        checkpoint_file("qqq")
    with pytest.raises(UserError, match=r"model\.safetensors$"):
        checkpoint_file("gone.ckpt")


def test_weights_are_known_by_their_content(tmp_path):
    for name, content in (("a.ckpt", b"one"), ("b.ckpt", b"one"), ("c.ckpt", b"two")):
        (tmp_path / name).write_bytes(content)
    one, same, other = (digest(tmp_path / name) for name in ("a.ckpt", "b.ckpt", "c.ckpt"))
    assert one == same != other
    assert one.startswith("sha256 ")
