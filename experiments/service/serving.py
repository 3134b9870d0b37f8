"""The command `serve`: models are opened, addresses listened on, requests answered until a signal asks to stop."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from experiments.errors import UserError
from experiments.messages import say
from experiments.service.app import build_app
from experiments.service.batching import Batches
from experiments.service.decoding import Decoders, DecodingLimits
from experiments.service.metrics import Counts
from experiments.service.models import open_models
from experiments.service.requests import Service
from experiments.service.server import answer
from experiments.settings import ServiceSettings
from experiments.tracking import RunHandle
from experiments.transfer.settings import TransferSettings


def serve(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Serve the models of the settings until the process is asked to stop.

    Raises:
        UserError: There is nothing to serve, or the address cannot be listened on.
    """
    service = settings.service
    with closing(_listening(service)) as listener, running(settings) as made:
        app = build_app(made)
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        say(f"models: {', '.join(made.models)}")
        print(f"{address}  (the schema: {address}/docs; Ctrl-C stops)", flush=True)
        answer(app, listener, service.shutdown, made.counts, run, service.record_every)
        return made.counts.summary()


@contextmanager
def running(settings: TransferSettings) -> Iterator[Service]:
    """The models of the settings, with what their requests run on."""
    service = settings.service
    models = {model.name: model for model in open_models(settings)}
    limits = DecodingLimits(service.max_seconds, service.timeout, service.decoder_mb)
    decoders = Decoders(service.decoders or os.cpu_count() or 1, limits)
    batches = Batches(settings.inference.batch_size, service.batch_wait)
    with tempfile.TemporaryDirectory(prefix="ostinato-service-") as folder:
        try:
            yield Service(models, decoders, batches, Counts(), Path(folder), service)
        finally:
            decoders.close()
            batches.close()


def _listening(service: ServiceSettings) -> socket.socket:
    """A socket at the address of the settings.

    Raises:
        UserError: It is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((service.host, service.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserError(
            f"{service.host}:{service.port} cannot be listened on ({error.strerror}): stop what uses it, or choose "
            "another service.port (0: any that is free)"
        ) from None
    return listener
