"""The run log: what a run says, line by line, while the terminal stays a terminal.

`sys.stdout` and `sys.stderr` are wrapped; everything they are asked about themselves (isatty, size, encoding) is
answered by the real stream, so progress bars stay alive. What reaches the file, per line: the text after the last
carriage return, without ANSI sequences and without secrets, appended in one write so that worker processes may share
the file. Lines that a live display rewrites (cursor up) reach the file as they were last.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from experiments.tracking.masking import for_terminal

FILE_NAME = "run.log"
OURS = ("experiments", "models", "datasets", "preprocess", "ostinato", "ex_")
ADVERTISER = "lightning.pytorch.utilities.rank_zero"

_TOKENS = re.compile(r"\n|\x1b\[\d*A|\x1b\[\?25[lh]|[^\n\x1b]+|\x1b")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LONGEST = 64 * 1024  # characters of one line kept


class RunLog:
    """The file; each call of `write` is one append, from whatever process or thread."""

    def __init__(self, path: Path, masked: Callable[[str], str] = lambda text: text):
        self.path, self._masked = path, masked
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, lines: list[str]) -> None:
        """Append lines, unless the log is closed; a full disk loses them, for there is nowhere to say it."""
        if self._file < 0:
            return
        text = "".join(f"{self._masked(line)}\n" for line in lines)
        with contextlib.suppress(OSError):
            os.write(self._file, text.encode("utf-8", "replace"))

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Lines:
    """Turns the characters sent to a terminal into the lines it shows in the end."""

    def __init__(self, out: Callable[[list[str]], None]):
        self._out = out
        self._current = ""
        self._held: list[str] = []
        self._live = False
        self._height = 1
        self._pid = os.getpid()

    def feed(self, text: str) -> None:
        """Take what is written to the terminal; complete lines go out, those of a live display once it has ended."""
        if os.getpid() != self._pid:  # a forked worker starts its own line
            self._current, self._held, self._pid = "", [], os.getpid()
        for token in _TOKENS.findall(text):
            if token == "\n":
                self._held.append(shown(self._current))
                self._current = ""
            elif token.startswith("\x1b[?25"):
                self._live = token.endswith("l")
            elif token.startswith("\x1b[") and token.endswith("A") and len(token) > 2:
                rows = int(token[2:-1] or 1)
                self._height = max(self._height, rows)
                del self._held[max(0, len(self._held) - rows) :]
                self._current = ""
            else:
                self._current = _after_return(self._current + token)[-_LONGEST:]
        self._release(self._height if self._live else 0)

    def finish(self) -> None:
        """Let out what is held, an unfinished line too."""
        if os.getpid() != self._pid:
            return
        if rest := shown(self._current):
            self._held.append(rest)
        self._current = ""
        self._release(0)

    def _release(self, keep: int) -> None:
        lines = self._held[: len(self._held) - keep]
        if lines:
            del self._held[: len(lines)]
            self._out(lines)


def _after_return(text: str) -> str:
    """Text that a carriage return has not yet overwritten; a return at the very end overwrites nothing so far."""
    body = text.rstrip("\r")
    return body[body.rfind("\r") + 1 :] + text[len(body) :]


def shown(text: str) -> str:
    """A line as it stands on the screen: after its last carriage return, without ANSI sequences."""
    return _ANSI.sub("", _after_return(text).rstrip("\r"))


class Tee:
    """A text stream that also feeds the log; everything else is the wrapped stream's."""

    def __init__(self, stream: TextIO, lines: Lines):
        self._stream, self._lines = stream, lines
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Write to the stream first, so that a broken log never costs the terminal its text."""
        with contextlib.suppress(BrokenPipeError):  # the reader of a pipe has left; the log is still written
            self._stream.write(text)
        with self._lock:
            self._lines.feed(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Console:
    """Records standard output and error, logging, warnings and fatal signals into `run.log` while it is open.

    Args:
        directory: the run's directory.
        masked: takes the secrets out of a line.
        capture: `python` for what passes sys.stdout and sys.stderr; `fd` also for what C libraries and children print
            (the terminal is then a pipe, and bars degrade to lines).
    """

    def __init__(self, directory: Path, masked: Callable[[str], str] = lambda text: text, capture: str = "python"):
        self.log = RunLog(directory / FILE_NAME, masked)
        self._capture = capture
        self._streams: tuple[TextIO, TextIO] | None = None
        self._lines: list[Lines] = []
        self._helper: Descriptors | None = None
        self._settled = self._fatal_before = False

    def __enter__(self) -> Console:
        self._streams = (sys.stdout, sys.stderr)
        for stream in self._streams:
            stream.flush()
        if self._capture == "fd":
            self._helper = Descriptors(self.log)
        else:
            self._lines = [Lines(self.log.write), Lines(self.log.write)]
            sys.stdout, sys.stderr = (Tee(s, lines) for s, lines in zip(self._streams, self._lines, strict=True))
            _redirect_handlers(self._streams, (sys.stdout, sys.stderr))
        self._fatal_before = faulthandler.is_enabled()
        faulthandler.enable(file=self.log.fileno())
        return self

    def note(self, text: str) -> None:
        """Put a text into the log alone."""
        self.log.write(text.rstrip("\n").split("\n"))

    def settle(self) -> None:
        """Bring all that was said so far into the log and close it; what follows goes to the terminal alone."""
        if self._settled:
            return
        self._settled = True
        if self._fatal_before and _real_descriptor(sys.__stderr__):
            faulthandler.enable(file=sys.__stderr__)
        else:
            faulthandler.disable()
        for lines in self._lines:
            lines.finish()
        if self._helper is not None:
            self._helper.close()
        self.log.close()

    def __exit__(self, *_: object) -> None:
        self.settle()
        if self._lines and self._streams is not None:
            _redirect_handlers((sys.stdout, sys.stderr), self._streams)
            sys.stdout, sys.stderr = self._streams


class Descriptors:
    """Sends descriptors 1 and 2 through one `tee` each; what they gathered enters the log after both have ended."""

    def __init__(self, log: RunLog):
        self._log = log
        self._raw = log.path.with_name(f".{log.path.name}.raw")
        self._saved = [os.dup(1), os.dup(2)]
        self._tees = []
        for target in (1, 2):
            tee = subprocess.Popen(
                ["tee", "-a", str(self._raw)],
                stdin=subprocess.PIPE,
                stdout=target,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._tees.append(tee)
        for target, tee in zip((1, 2), self._tees, strict=True):
            assert tee.stdin is not None
            os.dup2(tee.stdin.fileno(), target)
            tee.stdin.close()

    def close(self) -> None:
        """Give the descriptors back, wait for the helpers, then read what they wrote."""
        for target, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, target)
            os.close(saved)
        for tee in self._tees:
            with contextlib.suppress(subprocess.TimeoutExpired):
                tee.wait(timeout=5)
        lines = Lines(self._log.write)
        with contextlib.suppress(OSError):
            lines.feed(self._raw.read_text("utf-8", "replace"))
            self._raw.unlink()
        lines.finish()


def set_up_logging() -> logging.Logger:
    """Give the root logger one handler on standard error: our rooms from INFO on, others from WARNING on.

    Lightning brings a handler of its own, so its records are left to that one; its advertisement is dropped.
    """
    root = logging.getLogger()
    if not any(isinstance(handler, _OnError) for handler in root.handlers):
        root.addHandler(_OnError())
        root.setLevel(logging.INFO)
        logging.getLogger(ADVERTISER).addFilter(lambda record: "litlogger" not in str(record.msg))
    return root


class _OnError(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self.addFilter(_is_wanted)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(for_terminal(self.format(record)) + "\n")
        except Exception:
            self.handleError(record)


def _is_wanted(record: logging.LogRecord) -> bool:
    if record.name.partition(".")[0] == "lightning" and logging.getLogger("lightning").handlers:
        return False
    return record.levelno >= logging.WARNING or record.name.startswith(OURS)


def _redirect_handlers(before: tuple[TextIO, TextIO], after: tuple[TextIO, TextIO]) -> None:
    """Point the stream handlers that logging already has from one pair of streams to the other."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
                continue
            for old, new in zip(before, after, strict=True):
                if handler.stream is old:
                    handler.setStream(new)


def _real_descriptor(stream: Any) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
