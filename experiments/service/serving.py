"""The command `serve`: models are opened, addresses listened on, requests answered until a signal asks to stop."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn

from experiments.errors import UserError
from experiments.messages import say
from experiments.service.app import build_app
from experiments.service.batching import Batches
from experiments.service.connections import CONNECTIONS, HEAD_BYTES, Connection
from experiments.service.decoding import Decoders, DecodingLimits
from experiments.service.folders import private_folder
from experiments.service.guards import Guards
from experiments.service.metrics import Counted, Counts
from experiments.service.models import open_models
from experiments.service.requests import Service
from experiments.service.server import Ending, Server, answer
from experiments.service.tokens import token_of
from experiments.settings import ServiceSettings
from experiments.tracking import RunHandle
from experiments.transfer.settings import TransferSettings


def serve(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Serve the models of the settings until the process is asked to stop.

    Raises:
        UserError: There is nothing to serve, or the address cannot be listened on.
    """
    service, token = settings.service, token_of(settings.service)
    with closing(_listening(service)) as listener, running(settings) as made:
        host, port = listener.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            say("other machines reach it by an IP address of this one; by a name, once service.hosts lists it")
            host = "::1" if ":" in host else "127.0.0.1"
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        say(f"models: {', '.join(made.models)}")
        print(f"{address}  (the schema: {address}/docs; Ctrl-C stops)", flush=True)
        answer(server_of(made, port, token), listener, made.counts, run, service.record_every)
        return made.counts.summary()


def server_of(service: Service, port: int, token: bytes | None) -> Server:
    """The HTTP server of a service.

    Args:
        service: What answers.
        port: That is listened at.
        token: That requests have to bear; None: none.
    """
    settings = service.settings
    config = uvicorn.Config(
        Counted(Ending(Guards(build_app(service), settings, port, token)), service.counts),
        http=Connection,
        ws="none",
        lifespan="off",
        log_level="error",  # what clients do wrong is told to them
        access_log=False,
        proxy_headers=False,  # anybody can send them
        server_header=False,
        limit_concurrency=max(CONNECTIONS, 2 * settings.queue),
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=settings.shutdown,
    )
    return Server(config)


@contextmanager
def running(settings: TransferSettings) -> Iterator[Service]:
    """The models of the settings, with what their requests run on."""
    service = settings.service
    models = {model.name: model for model in open_models(settings)}
    limits = DecodingLimits(service.max_seconds, service.timeout, service.decoder_mb)
    decodes = [model.decode for model in models.values()]
    with (
        private_folder() as folder,
        closing(Batches(settings.inference.batch_size, service.batch_wait)) as batches,
        closing(Decoders(service.decoder_processes, limits, decodes)) as decoders,
    ):
        yield Service(models, decoders, batches, Counts(), folder, service)


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
        elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise UserError(
            f"{service.host}:{service.port} cannot be listened on ({error.strerror}): "
            + (
                "service.host has to be an address of this machine"
                if elsewhere
                else "stop what uses it, or choose another service.port (0: any that is free)"
            )
        ) from None
    return listener
