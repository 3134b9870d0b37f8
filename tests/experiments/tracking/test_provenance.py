"""What a run was made of, also where the tools are missing, refuse or hang."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.tracking import provenance
from experiments.tracking.provenance import Unreadable


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree with one commit."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(provenance, "GIT_SECONDS", 120)
    folder = tmp_path / "work tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "ex_a.py").write_text("a = 1\n")
    (folder / "data.bin").write_bytes(bytes(range(256)))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def tool(folder: Path, name: str, script: str) -> str:
    """PATH with a program of this name before everything else."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_clean_tree(repository: Path) -> None:
    found = provenance.revision(repository)
    assert found.commit == git(repository, "rev-parse", "HEAD")
    assert (found.branch, found.dirty, found.url, found.diff) == ("main", False, None, b"")


def test_difference_applied_to_the_commit_gives_the_sources(repository: Path, tmp_path: Path) -> None:
    (repository / "ex_a.py").write_text("a = 2\n")
    (repository / "data.bin").write_bytes(bytes(reversed(range(256))))
    (repository / "models").mkdir()
    (repository / "models" / "neu.py").write_text("# äöü\nb = 3\n")
    (repository / "notes.txt").write_text("not a source")
    found = provenance.revision(repository / "models")
    assert found.dirty
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(repository), str(other)], check=True, capture_output=True)
    patch = tmp_path / "uncommitted.diff"
    patch.write_bytes(found.diff)
    git(other, "apply", str(patch))
    for name in ("ex_a.py", "data.bin", "models/neu.py"):
        assert (other / name).read_bytes() == (repository / name).read_bytes()
    assert not (other / "notes.txt").exists()


def test_a_large_difference_is_that_of_the_sources_or_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "ex_a.py").write_text("a = 2\n")
    (repository / "data.bin").write_bytes(os.urandom(3000))
    monkeypatch.setattr(provenance, "DIFF_BYTES", 2000)
    found = provenance.revision(repository)
    assert b"ex_a.py" in found.diff
    assert b"data.bin" not in found.diff
    monkeypatch.setattr(provenance, "DIFF_BYTES", 10)
    assert provenance.revision(repository).diff is None


def test_settings_of_the_user_do_not_change_the_patch(repository: Path) -> None:
    (repository / "ex_a.py").write_text("a = 2\n")
    plain = provenance.revision(repository).diff
    for key, value in (("diff.noprefix", "true"), ("color.ui", "always"), ("diff.mnemonicPrefix", "true")):
        git(repository, "config", key, value)
    assert provenance.revision(repository).diff == plain


def test_detached_head(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    found = provenance.revision(repository)
    assert found.branch is None
    assert found.commit == git(repository, "rev-parse", "HEAD")


def test_no_commit_yet(tmp_path: Path, repository: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q", "-b", "main")
    (fresh / "ex_a.py").write_text("a = 1\n")
    found = provenance.revision(fresh)
    assert (found.commit, found.dirty, found.diff) == (None, True, b"")


def test_no_repository(tmp_path: Path, repository: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(Unreadable, match="not a git repository"):
        provenance.revision(outside)


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unreadable, match="git is not installed"):
        provenance.revision(repository)


def test_foreign_owned_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(Unreadable, match="dubious ownership"):
        provenance.revision(repository)


def test_hanging_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", tool(tmp_path / "bin", "git", "exec sleep 3600"))
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.3)
    with pytest.raises(Unreadable, match=r"gave no answer in 0\.3 s"):
        provenance.revision(repository)


def test_secret_in_the_remote(repository: Path) -> None:
    git(repository, "remote", "add", "origin", f"https://me:{'tok' + 'en1234'}@example.org/x.git")
    url = provenance.revision(repository).record()["url"]
    assert url.startswith("https://")
    assert url.endswith("@example.org/x.git")
    assert "token1234" not in url


def test_host_needs_no_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hanging nvidia-smi delays nothing: it is not asked."""
    asked = tmp_path / "asked"
    monkeypatch.setenv("PATH", tool(tmp_path / "bin", "nvidia-smi", f": > '{asked}'; exec sleep 3600"))
    found = provenance.host({"SLURM_JOB_ID": "17", "HOME": "/home/me"})
    assert not asked.exists()
    assert found["hostname"]
    assert found["slurm"] == {"SLURM_JOB_ID": "17"}
    assert found["memory_gb"] > 0
    assert "/home/me" not in repr(found)


class Driver:
    """An NVML that finds one card, whose memory it may not tell."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, known: bool):
        self.known = known

    def __getattr__(self, name: str) -> object:
        answers = {"nvmlDeviceGetCount": 1, "nvmlDeviceGetName": "A Card", "nvmlSystemGetDriverVersion": "600.1"}
        return lambda *_: answers.get(name)

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> object:
        if not self.known:
            raise self.NVMLError("not supported")
        return SimpleNamespace(total=16 * 2**30)


@pytest.mark.parametrize(("known", "memory"), [(True, 16384), (False, None)])
def test_cards(monkeypatch: pytest.MonkeyPatch, known: bool, memory: int | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver(known))
    cards = [{"model": "A Card", "total_memory": memory}]
    assert provenance.gpus(seconds=120) == {"driver_version": "600.1", "gpus": cards}


def test_no_library_no_driver_and_a_hanging_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert provenance.gpus(seconds=120) is None
    error = type("NVMLError", (Exception,), {})

    def refuse() -> None:
        raise error("driver not loaded")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=refuse, NVMLError=error))
    assert provenance.gpus(seconds=120) is None
    hangs, answered = threading.Event(), threading.Event()

    def start() -> None:
        hangs.wait()
        answered.set()
        raise error("at last")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=start, NVMLError=error))
    assert provenance.gpus(seconds=0.2) is None
    assert not answered.is_set()
    hangs.set()


def test_packages_name_what_is_installed() -> None:
    found = provenance.packages()
    names = [entry.split("==")[0] for entry in found]
    assert names == sorted(set(names))
    assert any(entry.startswith("sacred==0.8.7") for entry in found)


def test_sources_are_our_packages_and_the_script(tmp_path: Path) -> None:
    script = tmp_path / "ex_mine.py"
    script.write_text("x = 1\n")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    names = [record["path"] for record in provenance.keep_sources(script, tmp_path / "runs" / "a")]
    assert "ex_mine.py" in names
    assert "experiments/tracking/provenance.py" in names
    assert {name.split("/")[0] for name in names} <= {*provenance.PACKAGES, "ex_mine.py"}


def test_second_run_adds_no_source_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "runs" / "a", tmp_path / "runs" / "b"
    for directory in (first, second):
        directory.mkdir(parents=True)
        records = provenance.keep_sources(None, directory)
    assert len({path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()}) == len(
        {record["sha256"] for record in records}
    )
    assert all((second / record["file"]).is_file() for record in records)
