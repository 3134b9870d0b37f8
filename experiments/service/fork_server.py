"""The process that decoders are forked from: it has imported what they need, and never sees a file itself.

A decoder that was killed is replaced in milliseconds, where an import of torch takes seconds and 300 MB a process.
The service asks for a decoder by handing over one end of a socket. Closing the other end ends the decoder and whatever
it has started; so does the end of the service, of which the sockets are closed by the system.

`python -m experiments.service.fork_server CONTROL LIMITS DECODES`: descriptor of a socket; JSON of `DecodingLimits`;
JSON list of `calls.described`, each to be made and tried before the first decoder is forked.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from experiments.service import packets
from experiments.service.calls import made
from experiments.service.decoder import FAULT, DecodingLimits, work
from preprocess.attempts import attempt
from preprocess.files import Candidate

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38  # of prctl(2)
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the service says when to end
RATE = 44_100  # Hz


class ForkServer:
    """Decoders by process id.

    Args:
        control: Brings a socket for every decoder that is wanted.
        limits: Of every file.
    """

    def __init__(self, control: socket.socket, limits: DecodingLimits) -> None:
        self._control, self._limits = control, limits
        self._connections: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._woken, self._waking = socket.socketpair()
        for end in (self._woken, self._waking):
            end.setblocking(False)

    def run(self) -> None:
        """Fork decoders until the service is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the descriptor below is only written to beside a handler
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        for end in (self._control, self._woken):
            self._poll.register(end, select.POLLIN)
        while True:
            events = dict(self._poll.poll())
            self._end_abandoned(events)
            if self._woken.fileno() in events:
                self._woken.recv(4096)
                self._report_ended()
            if self._control.fileno() in events and not self._fork():
                break
        for process in self._connections:
            _kill(process)

    def _fork(self) -> bool:
        """Fork a decoder for the next socket; False where there is none because the service is gone.

        Where the system allows no further process, or no further open file, the socket is closed, which tells the
        service.
        """
        word, files, _, _ = socket.recv_fds(self._control, 1, 1, socket.MSG_CMSG_CLOEXEC)
        if not word:
            return False
        if not files:
            print("a decoder cannot be started: too many open files", file=sys.stderr)
            return True
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket(fileno=files[0]))
            try:
                process = os.fork()
            except OSError as error:
                print(f"a decoder cannot be started: {error.strerror}", file=sys.stderr)
                return True
            if not process:
                self._become_decoder(connection)
            with contextlib.suppress(OSError):  # whichever of the two is first
                os.setpgid(process, process)
            stack.pop_all()
        self._connections[process] = connection
        self._poll.register(connection, 0)  # of a hang-up alone: what is sent is for the decoder
        return True

    def _become_decoder(self, connection: socket.socket) -> None:
        status = FAULT
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            parent = os.getppid()
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                os.setpgid(0, 0)
                for other in (self._control, self._woken, self._waking, *self._connections.values()):
                    other.close()
                work(connection, self._limits)
            status = 0
        except ConnectionError:  # the service is gone, or wants this decoder no more
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _end_abandoned(self, events: dict[int, int]) -> None:
        """Kill decoders whose other end was closed."""
        for process, connection in self._connections.items():
            if events.get(connection.fileno(), 0) & (select.POLLHUP | select.POLLERR):
                self._poll.unregister(connection)
                _kill(process)

    def _report_ended(self) -> None:
        """Reap what ended, with all that it started, and tell the service of decoders."""
        while (ended := _ended()) is not None:
            _kill(ended)
            _, status = os.waitpid(ended, 0)
            if connection := self._connections.pop(ended, None):
                with contextlib.suppress(KeyError):
                    self._poll.unregister(connection)
                with connection, contextlib.suppress(OSError):
                    connection.setblocking(False)
                    packets.send(connection, {"ended": os.waitstatus_to_exitcode(status)})


def _ended() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _kill(process: int) -> None:
    """End a decoder and an ffmpeg that it has started; as long as nobody has waited for it, the number is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def _prctl(what: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0)


def _prepare(decodes: Sequence[str]) -> None:
    """Import what decoders need, and let it do once what is only done the first time."""
    content = io.BytesIO()
    soundfile.write(content, np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE), RATE, format="WAV")
    file = packets.memory(content.getbuffer())  # which leaves nothing behind if this process is killed meanwhile
    noise = Path(f"/proc/self/fd/{file}")
    for decode in decodes:
        attempt(Candidate("noise.wav", noise), made(decode), os.getpid())
    os.close(file)
    gc.collect()
    gc.freeze()  # or the first collection of every decoder would copy all pages


def main(control: str, limits: str, decodes: str) -> None:
    """Run a fork server."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # for an ffmpeg whose decoder is gone
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prepare(json.loads(decodes))
    ForkServer(socket.socket(fileno=int(control)), DecodingLimits(**json.loads(limits))).run()
    os._exit(0)  # torch takes a second to leave


if __name__ == "__main__":
    main(*sys.argv[1:])
