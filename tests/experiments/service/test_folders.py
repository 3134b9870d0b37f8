"""The folder of uploads: private, gone with its service, also where that was killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from datasets.file_locks import is_held
from experiments.errors import UserError
from experiments.service.folders import PREFIX, private_folder

SERVICE = """
import sys, time
from experiments.service.folders import private_folder
with private_folder() as folder:
    (folder / "song.mp3").write_bytes(b"music")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_deleted(temporary):
    with private_folder() as folder:
        (folder / "a").write_bytes(b"a")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert is_held(folder)  # what cleans up temporary files leaves it alone
    assert list(temporary.iterdir()) == []


def test_those_of_killed_services_are_removed_and_those_of_others_stay(temporary):
    environment = os.environ | {"TMPDIR": str(temporary)}
    started = [
        subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    killed, living = (Path(process.stdout.readline().strip()) for process in started)
    try:
        started[0].send_signal(signal.SIGKILL)
        started[0].wait()
        assert (killed / "song.mp3").exists()
        with private_folder() as own:
            assert not killed.exists()
            assert (living / "song.mp3").exists()
            assert own.exists()
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()


def test_what_is_no_folder_of_a_service_stays(temporary):
    (temporary / f"{PREFIX}link").symlink_to(temporary)
    (temporary / f"{PREFIX}file").write_bytes(b"")
    os.mkfifo(temporary / f"{PREFIX}pipe")
    with private_folder():
        left = {path.name.removeprefix(PREFIX) for path in temporary.iterdir()}
    assert {"link", "file", "pipe"} < left


def test_no_place(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(UserError, match=r"missing: no folder can be made there .* TMPDIR"), private_folder():
        pass
