"""The HTTP service under clients that misbehave, while its decoders are killed: each request has to get its answer.

    python -m benchmarks.service_chaos [--requests 2000] [--clients 32] [--checkpoint FILE] [--kills 3]

Uploads are good, damaged, empty, too large, and cut off before or after their end, in turns. What each has to be
answered is asked first, one after the other. Then clients send them all at once, and decoders, now and then the process
that they are forked from, are killed. A file whose decoder was killed twice is answered with 503. Before and after,
memory, processes, open files and the folder of the uploads are looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import psutil
import soundfile
import torch

from benchmarks.machine import describe
from models.checkpoints import save_network
from models.fcn import FCN

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
TARGET = "/v1/tags/predict"
LARGEST = 2.0  # MB of an upload
RATE = 16_000
FORMATS = ("wav", "flac", "mp3", "ogg")
CUT, LEFT = "cut off", "left"  # uploads whose client is gone before the answer
NOT_WAITED = "no answer waited for"
PATIENCE = 300  # seconds that a client waits
FORKS_KILLED = 0.01  # of the processes that are killed, such from which decoders are forked: it starts for seconds
SETTLED = 5.0  # seconds in which a service without requests comes to rest

Answer = tuple[int, bytes]  # status, body


@dataclass(frozen=True)
class Upload:
    """What a client sends.

    Attributes:
        kind: Of it.
        body: Its bytes.
    """

    kind: str
    body: bytes


@dataclass(frozen=True)
class State:
    """What a service holds.

    Attributes:
        memory: Bytes of its process that are no other's.
        family: Bytes with its decoders, shared pages counted once.
        processes: That it started.
        files: Open ones of its process, connections included.
        threads: Of its process.
        uploads: Files in its folder.
    """

    memory: int
    family: int
    processes: int
    files: int
    threads: int
    uploads: int

    def __str__(self) -> str:
        return (
            f"{self.memory / 2**20:.0f} MB ({self.family / 2**20:.0f} MB with decoders), {self.processes} processes, "
            f"{self.files} open files, {self.threads} threads, {self.uploads} uploads"
        )


@dataclass
class Outcome:
    """What became of the requests.

    Attributes:
        statuses: Of each request its kind and the status of its answer; 0 of those whose client left.
        wrong: Answers that are not those of the upload, and requests without one.
        killed: Processes.
        seconds: The whole.
    """

    statuses: list[tuple[str, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    killed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ChaosService:
    """A service in a process of its own.

    Attributes:
        port: That it listens at.
        process: Its.
        temporary: The folder of its temporary files.
    """

    port: int
    process: psutil.Popen
    temporary: Path

    def state(self, rest: float = SETTLED) -> State:
        """What it holds after so many seconds without requests."""
        time.sleep(rest)
        own = self.process
        family = own.children(recursive=True)
        memory = own.memory_full_info()
        with_decoders = memory.pss + sum(one.memory_full_info().pss for one in family)
        uploads = [path for path in self.temporary.rglob("*") if path.is_file()]
        return State(memory.uss, with_decoders, len(family), own.num_fds(), own.num_threads(), len(uploads))

    def kill_one(self, chance: random.Random) -> bool:
        """Kill a decoder, now and then the process that they are forked from; whether there was one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            forks = self.process.children()
            decoders = [one for fork in forks for one in fork.children()]
            if decoders:
                chance.choice(forks if chance.random() < FORKS_KILLED else decoders).kill()
                return True
        return False


def main() -> None:
    """Runs all and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="(default: 2000)")
    parser.add_argument("--clients", type=int, default=32, help="at once (default: 32)")
    parser.add_argument("--checkpoint", help="a file, a run or a release (default: a small network, random weights)")
    parser.add_argument("--kills", type=float, default=3.0, help="processes a second (default: 3)")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), arguments.checkpoint) as service:
        uploads = composed()
        expected = answers(service.port, uploads)
        print(f"{len(uploads)} uploads, {len({body for _, body in expected.values()})} different answers")
        hammered(service, uploads, expected, arguments.requests // 2, arguments.clients)  # a warm-up
        before = service.state()
        outcome = hammered(service, uploads, expected, arguments.requests, arguments.clients, arguments.kills)
        after = service.state()
        report(outcome, before, after)
        code = ended(service)
        left = [path.name for path in service.temporary.iterdir()]
        print(f"stopped with exit status {code}; left among the temporary files: {', '.join(left) or 'nothing'}")
    if outcome.wrong:
        sys.exit(1)


def report(outcome: Outcome, before: State, after: State) -> None:
    """Print what became of the requests, and what the service held before and after."""
    statuses = Counter(outcome.statuses)
    print(f"{len(outcome.statuses):,} requests in {outcome.seconds:.0f} s, {outcome.killed} processes killed")
    for kind in sorted({kind for kind, _ in statuses}):
        found = {status: n for (one, status), n in sorted(statuses.items()) if one == kind}
        print(f"  {kind}: {', '.join(f'{n} x {status or NOT_WAITED}' for status, n in found.items())}")
    print(f"wrong or missing answers: {len(outcome.wrong)} {outcome.wrong[:5] or ''}")
    print(f"before: {before}\nafter:  {after}")
    print(f"memory after / before: {after.memory / before.memory:.3f} (bar: 0.95 to 1.05)")


def composed() -> list[Upload]:
    """What is sent: as many good files as others."""
    generator = np.random.default_rng(0)
    good = [_recording(generator, 1 + 0.37 * number, FORMATS[number % len(FORMATS)]) for number in range(12)]
    damaged = [
        *(content[: len(content) // 2] for content in good[:3]),
        generator.bytes(50_000),
        b"<!doctype html>",
        good[1][:200] + generator.bytes(20_000),
        bytes(100_000),
    ]
    return [
        *(Upload("good", content) for content in good),
        *(Upload("damaged", content) for content in damaged),
        Upload("empty", b""),
        Upload("too large", generator.bytes(round(LARGEST * 1.5e6))),
        Upload(CUT, good[5]),
        Upload(CUT, good[8]),
        Upload(LEFT, good[11]),
    ]


def _recording(generator: np.random.Generator, seconds: float, kind: str) -> bytes:
    """A chord under noise, each another one."""
    axis = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * pitch * axis) for pitch in generator.uniform(100, 2000, 3))
    file = io.BytesIO()
    soundfile.write(file, 0.1 * tones + 0.02 * generator.standard_normal(len(axis)), RATE, format=kind)
    return file.getvalue()


@contextlib.contextmanager
def serving(folder: Path, checkpoint: str | None = None) -> Iterator[ChaosService]:
    """The service as a user starts it, with its temporary files and its runs in a folder."""
    temporary = folder / "temporary"
    temporary.mkdir()
    own = {"TMPDIR": str(temporary), "OSTINATO_HOME": str(folder / "home")}
    words = [f"service.models.tags={checkpoint or _network(folder)}", f"service.max_mb={LARGEST}", "service.port=0"]
    words += ["trainer.accelerator=cpu", "tracking.mongo=off"]  # windows of others in a batch change the last digits
    command = [sys.executable, str(ROOT / "ex_transfer.py"), "serve", "with", *words]
    process = psutil.Popen(command, cwd=folder, env=os.environ | own, stdout=subprocess.PIPE, text=True)
    try:
        port = next(int(found[1]) for line in process.stdout if (found := ADDRESS.search(line)))
        threading.Thread(target=shutil.copyfileobj, args=(process.stdout, io.StringIO()), daemon=True).start()
        yield ChaosService(port, process, temporary)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()


def ended(service: ChaosService) -> int:
    """Stop a service as systemd does; its exit status.

    Raises:
        RuntimeError: One of its processes lives on.
    """
    family = service.process.children(recursive=True)
    service.process.send_signal(signal.SIGTERM)
    code = service.process.wait(PATIENCE)
    if alive := psutil.wait_procs(family, timeout=SETTLED)[1]:
        raise RuntimeError(f"{len(alive)} processes of the service live on")
    return code


def _network(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "network.safetensors"
    labels = [f"tag {number}" for number in range(10)]
    save_network(path, FCN(n_classes=len(labels), channels=[8] * 5).eval(), {"labels": labels, "task": "tagging"})
    return path


def answers(port: int, uploads: Sequence[Upload]) -> dict[bytes, Answer]:
    """What each upload is answered alone."""
    return {upload.body: sent(port, upload.body) for upload in uploads}


def sent(port: int, body: bytes) -> Answer:
    """Send an upload."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", TARGET, body, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        return response.status, response.read()


def left(port: int, upload: Upload, chance: random.Random) -> None:
    """Send an upload, or its beginning, and leave."""
    head = f"POST {TARGET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(upload.body)}\r\n\r\n".encode()
    until = len(upload.body) if upload.kind == LEFT else chance.randrange(len(upload.body))
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(head + upload.body[:until])
        time.sleep(chance.uniform(0, 0.2))


def hammered(
    service: ChaosService,
    uploads: Sequence[Upload],
    expected: Mapping[bytes, Answer],
    requests: int,
    clients: int,
    kills: float = 0.0,
) -> Outcome:
    """Send requests from many clients at once.

    Args:
        service: That answers.
        uploads: What is sent, in a random order.
        expected: Their answers.
        requests: How many.
        clients: At once.
        kills: Processes of the service that are killed a second.
    """
    outcome, chance, done = Outcome(), random.Random(0), threading.Event()
    waiting: SimpleQueue[Upload] = SimpleQueue()
    for number in range(0, requests, len(uploads)):
        for upload in chance.sample(uploads, min(len(uploads), requests - number)):
            waiting.put(upload)

    def client(number: int) -> None:
        own = random.Random(number)
        with contextlib.suppress(Empty):
            while True:
                _once(service.port, waiting.get_nowait(), expected, outcome, own)

    def killer() -> None:
        while not done.wait(1 / kills):
            outcome.killed += service.kill_one(chance)

    start = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    killing = threading.Thread(target=killer)
    for thread in threads:
        thread.start()
    if kills:
        killing.start()
    for thread in threads:
        thread.join()
    done.set()
    if kills:
        killing.join()
    outcome.seconds = time.perf_counter() - start
    return outcome


def _once(port: int, upload: Upload, expected: Mapping[bytes, Answer], outcome: Outcome, chance: random.Random) -> None:
    """Send an upload and look at its answer."""
    try:
        if upload.kind in (CUT, LEFT):
            left(port, upload, chance)
            outcome.statuses.append((upload.kind, 0))
            return
        answer = sent(port, upload.body)
    except (OSError, http.client.HTTPException) as error:
        outcome.wrong.append(f"{upload.kind}: {error!r}")
        outcome.statuses.append((upload.kind, -1))
        return
    outcome.statuses.append((upload.kind, answer[0]))
    if answer != expected[upload.body] and answer[0] != http.HTTPStatus.SERVICE_UNAVAILABLE:
        outcome.wrong.append(f"{upload.kind}: {answer[0]} {answer[1][:200]!r}")


if __name__ == "__main__":
    main()
