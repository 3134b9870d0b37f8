"""The data lie in a private directory on a local disk, the same one when the host is renamed."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from datasets.file_locks import is_held
from experiments.errors import UserError
from experiments.tracking import home as homes
from experiments.tracking.home import LockHeld, locked
from experiments.tracking.server import EmbeddedServer


def test_a_home_that_cannot_be_written_is_named_with_a_remedy(tmp_path):
    """By a user who is not root, for whom every directory can be written."""
    home = tmp_path / "readonly"
    home.mkdir(mode=0o500)
    code = (
        "import os, sys\n"
        "from pathlib import Path; from experiments.errors import UserError\n"
        "from experiments.tracking.home import private_directory\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: private_directory(Path(sys.argv[1]))\n"
        "except UserError as error: print(error)"
    )
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="OSTINATO_HOME"):
        EmbeddedServer(blocked / "home").acquire()
    answer = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert "Set OSTINATO_HOME to a directory of yours" in answer.stdout


def test_a_directory_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / "theirs").symlink_to(tmp_path)
    with pytest.raises(UserError, match="belongs to another user"):
        homes.owned_directory(tmp_path / "theirs")
    (tmp_path / "ours").mkdir(mode=0o755)
    assert stat.S_IMODE(homes.owned_directory(tmp_path / "ours").stat().st_mode) == 0o700


def test_network_file_systems_are_recognised_and_avoided(tmp_path, monkeypatch, caplog):
    places = {"/": "ext4", f"{tmp_path}/nfs": "nfs4"}
    mounts = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in places.items()]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    (tmp_path / "nfs").mkdir()
    (tmp_path / "nfs and more").mkdir()
    assert homes.file_system(tmp_path / "nfs" / "home" / "not yet") == "nfs4"
    assert homes.file_system(tmp_path / "nfs and more") == "ext4"
    assert homes.file_system(tmp_path / "local") == "ext4"
    monkeypatch.setattr(homes, "file_system", lambda home: "nfs4")
    monkeypatch.setattr(homes, "LOCAL", tmp_path / "var")
    directory = homes.server_directory(tmp_path / "nfs" / "home")
    assert directory.is_relative_to(tmp_path / "var")
    assert socket.gethostname() in directory.name
    assert "network file system" in caplog.text


def test_a_host_with_a_new_name_keeps_its_database(tmp_path, monkeypatch):
    monkeypatch.setattr(homes, "LOCAL", tmp_path)
    monkeypatch.setattr(homes, "file_system", lambda path: "nfs4" if path.name == "home" else "ext4")
    first = homes.server_directory(tmp_path / "home")
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert homes.server_directory(tmp_path / "home") == first
    assert homes.server_directory(tmp_path / "other" / "home") != first


def test_hosts_that_share_their_local_directory_keep_databases_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(homes, "LOCAL", tmp_path)
    monkeypatch.setattr(homes, "file_system", lambda path: "nfs4")
    first = homes.server_directory(tmp_path / "home")
    monkeypatch.setattr(socket, "gethostname", lambda: "neighbour")
    assert homes.server_directory(tmp_path / "home") != first


def test_a_lock_that_cannot_be_had_is_named_with_a_remedy(tmp_path):
    path = tmp_path / "lock"
    with locked(path, 0.0), pytest.raises(LockHeld, match="fuser"), locked(path, 0.0):
        pass
    assert not is_held(path)
    with pytest.raises(UserError, match="OSTINATO_HOME"), locked(tmp_path / "none" / "lock", 0.0):
        pass
