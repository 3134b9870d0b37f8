"""A real service on the loopback interface, with a small network; decoders and files for them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import torch

from experiments.service import serving
from experiments.service.decoding import Decoders, DecodingLimits
from experiments.service.requests import Service
from experiments.service.tokens import token_of
from experiments.transfer.settings import TransferSettings
from models.checkpoints import save_network
from models.fcn import FCN

TAGS = ["guitar", "loud", "slow"]


@dataclass(frozen=True)
class Served:
    """A service that runs.

    Attributes:
        address: As in `http://127.0.0.1:8000`.
        port: Of the address.
        service: What answers.
    """

    address: str
    port: int
    service: Service


@pytest.fixture(scope="session")
def tagger(tmp_path_factory) -> Path:
    """Checkpoint of a small tagger."""
    torch.manual_seed(0)
    network = FCN(n_classes=len(TAGS), channels=[4] * 5).eval()
    file = tmp_path_factory.mktemp("checkpoints") / "tagger.safetensors"
    save_network(file, network, {"labels": TAGS, "task": "tagging"})
    return file


@pytest.fixture(scope="session")
def song(tmp_path_factory) -> Path:
    """A short recording, `song.wav`."""
    file = tmp_path_factory.mktemp("music") / "song.wav"
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(16_000 * 4), 16_000)
    return file


@pytest.fixture(scope="session")
def served() -> Callable[..., AbstractContextManager[Served]]:
    """`with served({"tags": FILE}, timeout=3) as service`: serves models by name, with settings of the service."""

    @contextmanager
    def serve(models: Mapping[str, Path], **settings: Any) -> Iterator[Served]:
        given = {"port": 0, "decoders": 1, **settings, "models": {name: str(file) for name, file in models.items()}}
        typed = TransferSettings(service=given, trainer={"accelerator": "cpu"})
        with closing(serving._listening(typed.service)) as listener, serving.running(typed) as made:
            port = listener.getsockname()[1]
            server = serving.server_of(made, port, token_of(typed.service))
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                while not server.started and thread.is_alive():
                    thread.join(0.01)
                yield Served(f"http://127.0.0.1:{port}", port, made)
            finally:
                server.should_exit = True
                thread.join()

    return serve


@pytest.fixture
def decoders_within() -> Iterator[Callable[..., Decoders]]:
    """Decoders with limits, `audio` and `seconds` in seconds; closed afterwards."""
    made = []

    def make(processes: int = 2, audio: float = 60.0, seconds: float = 60.0, megabytes: int = 500) -> Decoders:
        made.append(Decoders(processes, DecodingLimits(audio, seconds, megabytes)))
        return made[-1]

    yield make
    for decoders in made:
        decoders.close()


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[object], Path]:
    """Files that hold a text, each of another name."""
    numbers = itertools.count()

    def note(text: object) -> Path:
        path = tmp_path / f"upload-{next(numbers)}"
        path.write_text(str(text))
        return path

    return note


@pytest.fixture
def processes_started() -> Callable[[], list[psutil.Process]]:
    """Processes that were started since, and are not gone."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [one for one in psutil.Process().children(recursive=True) if one not in before]
