"""No name leads out of the folder that it is looked for in."""

from __future__ import annotations

import os

import pytest

from datasets.inside import NotInside, open_inside


def test_only_regular_files_inside_of_the_folder_are_opened(tmp_path):
    key = tmp_path / "home_of_mine" / "id_rsa"
    key.parent.mkdir()
    key.write_bytes(b"secret")
    folder = tmp_path / "run"
    (folder / "files" / "deep").mkdir(parents=True)
    (folder / "files" / "deep" / "a.png").write_bytes(b"picture")
    (folder / "link").symlink_to(key)
    (folder / "inner").symlink_to(folder / "files" / "deep" / "a.png")
    (folder / "out").symlink_to(key.parent)
    os.mkfifo(folder / "pipe")
    with open_inside(folder, "files/deep/a.png") as file:
        assert file.read() == b"picture"
    names = [str(key), f"../{key.parent.name}/id_rsa", "files/../../home_of_mine/id_rsa", "link", "inner", "out/id_rsa"]
    for name in [*names, "pipe", "files", "", ".", "a\0b", "link/x", "files/deep/a.png/x", None, 5]:
        with pytest.raises(NotInside):
            open_inside(folder, name)
    with pytest.raises(FileNotFoundError):
        open_inside(folder, "files/none")
