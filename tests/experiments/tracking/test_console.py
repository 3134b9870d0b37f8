"""The run log: what the terminal shows in the end, line by line."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.tracking.console import Console, Lines, Tee, shown

PRINTED = st.characters(blacklist_characters="\r\n\x1b", blacklist_categories=["Cs"])
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def fatal_signals() -> Iterator[None]:
    """The handler of fatal signals that pytest has is its own affair."""
    yield
    faulthandler.disable()


def lines_of(*chunks: str) -> list[str]:
    """What reaches the log when these are written one after the other."""
    out: list[str] = []
    lines = Lines(out.extend)
    for chunk in chunks:
        lines.feed(chunk)
    lines.finish()
    return out


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (["one\ntwo\n"], ["one", "two"]),
        (["o", "ne\nt", "wo"], ["one", "two"]),
        (["10%\r", "20%\r", "100%\n"], ["100%"]),
        (["10%", "\r100%\r", "\n"], ["100%"]),
        (["windows\r\n"], ["windows"]),
        (["\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\n"], ["red and plain"]),
        (["\x1b[", "1mbold\n"], ["bold"]),
        (["a\n\nb\n"], ["a", "", "b"]),
        ([""], []),
        (["no end"], ["no end"]),
    ],
)
def test_lines_as_the_terminal_shows_them(chunks: list[str], expected: list[str]) -> None:
    assert lines_of(*chunks) == expected


def test_a_live_display_is_its_last_state() -> None:
    """Two bars that are drawn over themselves, with a line printed above them meanwhile."""
    redraw = "\r\x1b[2K\x1b[1A\x1b[2K"
    said = lines_of(
        "before\n",
        "\x1b[?25l",
        "bar a 1\nbar b 1",
        f"{redraw}bar a 2\nbar b 2",
        f"{redraw}printed\nbar a 3\nbar b 3",
        f"{redraw}bar a 4\nbar b 4\n",
        "\x1b[?25h",
        "after\n",
    )
    assert said == ["before", "printed", "bar a 4", "bar b 4", "after"]


def test_lines_leave_at_once_while_nothing_is_redrawn() -> None:
    out: list[str] = []
    Lines(out.extend).feed("one\ntwo")
    assert out == ["one"]


@given(st.lists(st.text(PRINTED), max_size=5), st.data())
def test_chunks_do_not_matter(texts: list[str], data: st.DataObject) -> None:
    text = "".join(f"{line}\n" for line in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert lines_of(*chunks) == texts


@given(st.lists(st.text(PRINTED, min_size=1), min_size=1))
def test_the_last_state_of_a_bar_stays(states: list[str]) -> None:
    assert lines_of("\r".join(states) + "\n") == [states[-1]]
    assert shown("\r".join(states)) == states[-1]


def test_the_stream_answers_for_itself() -> None:
    primary, secondary = pty.openpty()
    with open(secondary, "w") as terminal:
        tee = Tee(terminal, Lines(lambda lines: None))
        assert tee.isatty()
        assert tee.fileno() == terminal.fileno()
        assert tee.encoding == terminal.encoding
        assert tee.write("abc") == 3
    os.close(primary)


def test_everything_that_is_said_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logger = logging.getLogger("made_before_the_run")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler())
    terminal = (sys.stdout, sys.stderr)
    with Console(tmp_path, lambda line: line.replace("secret", "***")) as console:
        print("printed")
        print("the secret is out", file=sys.stderr)
        logger.warning("logged")
        console.note("noted\nin two lines")
        print("unfinished", end="")
    said = (tmp_path / "run.log").read_text().splitlines()
    assert said[:3] == ["printed", "the *** is out", "logged"]
    assert said[-3:] == ["noted", "in two lines", "unfinished"]
    assert (sys.stdout, sys.stderr) == terminal
    assert logger.handlers[0].stream is terminal[1]
    assert "noted" not in terminal[0].getvalue() + terminal[1].getvalue()
    assert terminal[0].getvalue() == "printed\nunfinished"


def test_after_settling_the_terminal_goes_on_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(tmp_path) as console:
        print("before")
        console.settle()
        print("after")
        console.settle()
    assert (tmp_path / "run.log").read_text() == "before\n"
    assert capsys.readouterr().out == "before\nafter\n"


def test_workers_write_into_the_same_log(tmp_path: Path) -> None:
    with Console(tmp_path):
        print("half a line ", end="")
        child = os.fork()
        if child == 0:
            sys.stdout.write("from the worker\n")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print("and the rest")
    assert sorted((tmp_path / "run.log").read_text().splitlines()) == ["from the worker", "half a line and the rest"]


PROGRAM = """
import ctypes, os, sys, warnings
from pathlib import Path
from experiments.tracking.console import Console
with Console(Path(sys.argv[1]), capture=sys.argv[2]):
    print("from python", flush=True)
    if sys.argv[2] == "fd":
        os.system("echo from a child")
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
    else:
        warnings.warn("look out")
        ctypes.string_at(0)
print("afterwards")
"""


def test_descriptors_on_request(tmp_path: Path) -> None:
    """What a child and a C library print is in the log too, whole, once the helpers have ended."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "fd"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["from python", "from a child", "from C", "afterwards"]
    assert (tmp_path / "run.log").read_text().splitlines() == ["from python", "from a child", "from C"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.log"]


def test_a_fatal_signal_leaves_its_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "python"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode < 0
    said = (tmp_path / "run.log").read_text()
    assert "UserWarning: look out" in said
    assert "Segmentation fault" in said
