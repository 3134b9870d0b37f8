"""How runs end: status and exit code of every way, and nothing of what was said before is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from experiments.errors import UserError
from experiments.tracking import lifecycle
from experiments.tracking.journal import Journal, read
from experiments.tracking.liveness import end_of
from experiments.tracking.run import Recorder

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_tiny.py")
WAYS = {  # status, exit code, what the last words on the terminal are
    "return": ("COMPLETED", 0, "completed"),
    "raise": ("FAILED", 1, "RuntimeError: boom"),
    "exit0": ("COMPLETED", 0, "completed"),
    "exit3": ("FAILED", 3, "failed"),
    "SIGINT": ("INTERRUPTED", 130, "interrupted by SIGINT"),
    "SIGTERM": ("INTERRUPTED", 143, "interrupted by SIGTERM"),
}
TRACES = {"raise": "RuntimeError: boom", "exit3": "SystemExit: 3", "SIGINT": "SIGINT", "SIGTERM": "SIGTERM"}

Start = Callable[..., tuple[int, str, Path]]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported everything and forks one process for each command line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "lightning.pytorch"
    yield process
    process.communicate(timeout=240)
    assert process.returncode == 0


@pytest.fixture
def start(server: subprocess.Popen[str], tmp_path: Path) -> Start:
    """Run the tiny experiment with these words; gives exit code, terminal text and the run's directory."""

    def run(*words: str, **environment: str) -> tuple[int, str, Path]:
        before = set(tmp_path.glob("runs/2*"))
        output = tmp_path / "terminal.txt"
        variables = {"OSTINATO_HOME": str(tmp_path / "home"), **environment}
        request = json.dumps([str(tmp_path), str(output), [*words, "tracking.mongo=off"], variables])
        print(request, file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        (directory,) = set(tmp_path.glob("runs/2*")) - before
        return code, output.read_text(), directory

    return run


@pytest.mark.parametrize("where", ["outside", "inside"])
@pytest.mark.parametrize("way", WAYS)
def test_status_and_exit_code(start: Start, way: str, where: str) -> None:
    code, terminal, directory = start("with", f"end={way}", f"where={where}")
    status, expected, last = WAYS[way]
    end = end_of(directory)
    assert (end["status"], code) == (status, expected), terminal
    log = (directory / "run.log").read_text()
    assert "last words\n" in log
    assert last in terminal
    assert TRACES.get(way, "") in log
    if way == "return":
        assert end["result"] == {"val/map": 0.5}
    if way == "raise":
        assert "RuntimeError: boom\n" in end["fail_trace"]


def test_nothing_said_is_lost(start: Start) -> None:
    """The last line and the trace are in the log each time, however short the run and however it ends."""
    for repetition in range(24):
        way = list(WAYS)[repetition % len(WAYS)]
        code, _, directory = start("with", f"end={way}", "noise=25")
        lines = (directory / "run.log").read_text().splitlines()
        assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(25)]
        assert "last words" in lines
        assert any(TRACES.get(way, "") in line for line in lines)
        assert code == WAYS[way][1]


@pytest.mark.parametrize(("way", "message"), [("user", "key=3: expected 4"), ("store", "not the fingerprint")])
def test_a_plain_error_is_one_line(start: Start, way: str, message: str) -> None:
    code, terminal, directory = start("with", f"end={way}")
    assert code == 1
    assert f"error: {message}" in terminal
    assert "Traceback" not in terminal
    assert "Traceback" in (directory / "run.log").read_text()
    assert end_of(directory)["status"] == "FAILED"


def test_debug_shows_the_trace_of_a_plain_error(start: Start) -> None:
    code, terminal, _ = start("main", "-d", "with", "end=user")
    assert code == 1
    assert "Traceback" in terminal


def test_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    """The run hangs while it is being interrupted; the journal is on the disk and the next start closes the run."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OSTINATO_HOME": str(tmp_path / "home")}
    words = ["with", "end=hang", "tracking.mongo=off"]
    command = [sys.executable, "-u", str(SCRIPT), *words]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline().strip() == "hangs"
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "stopped at once" in text
    (directory,) = tmp_path.glob("runs/2*")
    assert end_of(directory) is None
    subprocess.run(
        [sys.executable, str(SCRIPT), "with", "tracking.mongo=off"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        timeout=240,
    )
    assert end_of(directory)["status"] == "INTERRUPTED"


def test_exit_codes() -> None:
    assert lifecycle.exit_code(None) == 0
    assert lifecycle.exit_code(lifecycle.Interrupted(signal.SIGTERM)) == 143
    assert lifecycle.exit_code(KeyboardInterrupt()) == 130
    assert lifecycle.exit_code(SystemExit(4)) == 4
    assert lifecycle.exit_code(SystemExit("a text")) == 1
    assert lifecycle.exit_code(ValueError()) == 1


def test_an_exit_while_an_interrupt_is_handled_is_the_interrupt() -> None:
    def swallowing() -> None:
        try:
            raise lifecycle.Interrupted(signal.SIGHUP)
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(lifecycle.Interrupted) as caught:
        lifecycle.normalised(swallowing)
    assert caught.value.signum == signal.SIGHUP


def test_an_error_of_whoever_cleans_up_behind_an_interrupt_is_the_interrupt() -> None:
    def clumsy() -> None:
        try:
            raise lifecycle.Interrupted(signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("a worker is gone")  # noqa: B904

    with pytest.raises(lifecycle.Interrupted) as caught:
        lifecycle.normalised(clumsy)
    assert caught.value.signum == signal.SIGTERM


def test_interrupts_pass_through_handlers_of_ordinary_errors() -> None:
    def careless() -> str:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(240)
        except Exception:
            return "swallowed"
        return "not interrupted"

    with lifecycle.signals(), pytest.raises(lifecycle.Interrupted):
        lifecycle.normalised(careless)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class Rude:
    """Is interrupted as it goes, where Python only prints an exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_destructor_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        Rude()
        threading.Event().wait(240)

    with lifecycle.signals(), pytest.raises(lifecycle.Interrupted):
        lifecycle.normalised(command)
    assert capfd.readouterr().err == ""


def test_an_interrupt_does_not_leave_an_import_lock_behind() -> None:
    """One that comes amid the bookkeeping of an import waits until that is over."""
    inside = "signal.raise_signal(signal.SIGINT); over = True"
    names = {"signal": signal}

    def command() -> None:
        exec(compile(inside, "<frozen importlib._bootstrap>", "exec"), names)
        threading.Event().wait(240)

    with lifecycle.signals(), pytest.raises(lifecycle.Interrupted):
        lifecycle.normalised(command)
    assert names["over"]


def test_a_signal_waits_until_what_was_gathered_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a record is lost, or is in the journal twice, with which a run cannot go on."""
    journal = Journal.create(tmp_path / "runs", home=tmp_path)
    recorder, write = Recorder(journal), os.write
    for name in ("a", "b"):
        recorder.log_scalar(name, 1.0, 0)

    def slow(file: int, data: bytes) -> int:
        written = write(file, data)
        signal.raise_signal(signal.SIGTERM)
        return written

    monkeypatch.setattr(os, "write", slow)
    with lifecycle.signals(), pytest.raises(lifecycle.Interrupted):
        recorder.flush()
    monkeypatch.undo()
    recorder.info({"after": True})
    assert [(record["seq"], record["kind"], record.get("name")) for record in read(journal.directory)] == [
        (1, "metrics", "a"),
        (2, "metrics", "b"),
        (3, "info", None),
    ]


def test_signals_of_slurm_are_left_to_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert signal.SIGUSR1 in lifecycle.watched_signals()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert signal.SIGUSR1 not in lifecycle.watched_signals()


def test_plain_errors_are_those_of_our_rooms() -> None:
    ours = type("AudioError", (ValueError,), {"__module__": "preprocess.decode"})
    theirs = type("AudioError", (ValueError,), {"__module__": "elsewhere"})
    assert lifecycle.is_plain(ours("x"))
    assert lifecycle.is_plain(UserError("x"))
    assert not lifecycle.is_plain(theirs("x"))
    assert not lifecycle.is_plain(ValueError("x"))


def test_a_worker_that_died_is_named_by_its_signal(capsys) -> None:
    noted: list[str] = []
    lifecycle.report(BrokenProcessPool("The exit codes of the workers are {SIGKILL(-9)}"), noted.append)
    assert capsys.readouterr().err.startswith("error: a worker was killed (SIGKILL), most often for want of memory")
    assert "BrokenProcessPool" in noted[0]


@pytest.mark.parametrize("last", ["raise_signal(SIGINT)", "Rude()"])
def test_ctrl_c_while_a_script_imports_is_one_line(tmp_path: Path, last: str) -> None:
    """In a destructor too, where an exception would be printed, and the script would go on."""
    ended = _script(tmp_path / "ex_mine.py", last)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_in_a_program_that_imports_us_is_an_exception(tmp_path: Path) -> None:
    ended = _script(tmp_path / "program.py", "raise_signal(SIGINT)")
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr.endswith("KeyboardInterrupt\n")


def _script(path: Path, last: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has imported our package, and ends with these lines."""
    rude = "class Rude:\n    def __del__(self): raise_signal(SIGINT)"
    path.write_text(f"import experiments\nfrom signal import SIGINT, raise_signal\n{rude}\n{last}\nprint('went on')\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=240)
