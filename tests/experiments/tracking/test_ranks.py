"""One run per experiment, whatever launched its processes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import distributed, launcher
from experiments.errors import UserError
from experiments.tracking import RunHandle, lifecycle, ranks
from experiments.tracking.journal import read
from experiments.tracking.liveness import end_of

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_tiny.py")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0", "LOCAL_RANK": "0"},
        {"SLURM_PROCID": "0", "NODE_RANK": "0"},
        {"RANK": ""},
        {"RANK": "none"},
    ],
)
def test_rank_zero(environment: dict[str, str]) -> None:
    assert launcher.is_global_zero(environment)


@pytest.mark.parametrize("name", [*launcher.GLOBAL_RANKS, *launcher.NODE_RANKS, launcher.LOCAL_RANK])
def test_any_rank_variable_above_zero_is_another_rank(name: str) -> None:
    assert not launcher.is_global_zero({"RANK": "0", "LOCAL_RANK": "0"} | {name: "2"})


def test_labels_name_files() -> None:
    assert launcher.label({"RANK": "3", "LOCAL_RANK": "1"}) == "3"
    assert launcher.label({"LOCAL_RANK": "1"}) == "1"
    assert launcher.label({"NODE_RANK": "2", "LOCAL_RANK": "0"}) == "2.0"


@pytest.fixture
def other_rank(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This process as rank 1 of a run whose directory exists."""
    directory = tmp_path / "runs" / "20300101-000000-abcdef"
    directory.mkdir(parents=True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(ranks.RUN_VARIABLE, directory.name)
    return directory


def test_another_rank_gets_the_directory_and_records_nothing(other_rank: Path, tmp_path: Path) -> None:
    seen: list[RunHandle] = []

    def command(run: RunHandle) -> None:
        run.log_scalar("train/loss", 1.0, 0)
        run.set_info(a=1)
        run.add_artifact(tmp_path / "missing.png")
        run.register_checkpoint(tmp_path / "missing.ckpt")
        seen.append(run)

    assert ranks.follow(command, str(tmp_path / "runs"), seed=5) == 0
    assert (seen[0].directory, seen[0].seed, seen[0].is_global_zero) == (other_rank, 5, False)
    assert list(other_rank.iterdir()) == []


def test_another_rank_leaves_its_trace(
    other_rank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "LINGERING", 0.0)
    monkeypatch.setattr(distributed, "hang_up", lambda: None)

    def command(run: RunHandle) -> None:
        raise RuntimeError("broken at mongodb://me:hunter22@host/db")

    assert ranks.follow(command, str(tmp_path / "runs"), seed=5) == 1
    text = (other_rank / "rank1.log").read_text()
    assert "RuntimeError: broken" in text
    assert "hunter22" not in text + capsys.readouterr().err
    failure = ranks.failure_behind(RuntimeError("connection closed by peer"), other_rank)
    assert failure is not None
    assert failure.brief.startswith("rank1 failed, and the run with it: RuntimeError: broken")
    assert "Traceback" in str(failure)
    assert ranks.failure_behind(UserError("key=3: expected 4"), other_rank) is None
    assert ranks.failure_behind(lifecycle.Interrupted(signal.SIGINT), other_rank) is None


@pytest.mark.parametrize("words", [["with", "modle.width=3"], ["help"], ["print_config"], ["sync"]])
def test_another_rank_says_nothing_that_rank_zero_says(
    words: list[str], other_rank: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("ex_tiny_of_another_rank", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with contextlib.suppress(SystemExit):
        module.ex.run_commandline([str(SCRIPT), *words])
    assert capsys.readouterr() == ("", "")


def test_f20_two_ranks_are_one_run(tmp_path: Path) -> None:
    """Lightning starts the second process itself; it fails there, and the run says where and why."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OSTINATO_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "with", "tracking.mongo=off", "where=ddp", "end=raise", "seed=11"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    (directory,) = tmp_path.glob("runs/2*")
    draws = [path.read_text() for path in tmp_path.glob("draw*.txt")]
    assert len(draws) == 2, done.stdout + done.stderr
    assert draws[0] == draws[1]
    assert draws[0].startswith(f"seed 11 in {directory.name}: first draw")
    assert "RuntimeError: boom" in (directory / "rank1.log").read_text()
    steps = [
        step
        for record in read(directory)
        if record["kind"] == "metrics" and record["name"] == "train/loss_inside"
        for step, _, _ in record["points"]
    ]
    assert steps == sorted(set(steps))
    assert done.returncode == 1
    assert end_of(directory)["status"] == "FAILED"
    assert "RuntimeError: boom" in "".join(end_of(directory)["fail_trace"])
    assert "RuntimeError: boom" in (directory / "run.log").read_text()
    assert done.stderr.count("Traceback") == 1
