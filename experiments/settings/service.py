"""What the HTTP service serves, to whom, and within which limits."""

# ruff: noqa: RUF012  # pydantic copies defaults

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from experiments.settings.base import Count, Positive, Section

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
HOST = re.compile(r"\[[0-9A-Fa-f:.]+\](:\d{1,5})?|[A-Za-z0-9_.-]+(:\d{1,5})?")
TAKEN = ("predict", "models")  # what stands in the place of a name in addresses
SHORTEST_TOKEN = 16  # characters


class ServiceSettings(Section):
    """The HTTP service."""

    models: dict[str, str] = {}  # files, runs, published networks, kept probes, by name; empty: that of predict
    encoders: dict[str, str] = {}  # of probes of that name on networks of your own: the checkpoint of the network
    heads: dict[str, str] = {}  # of encoders of that name: as inference.head
    engine: Literal["torch", "onnx"] = "torch"  # onnx: files of export with export.format=onnx, without torch
    host: str = "127.0.0.1"  # address that is listened on; others than this machine's own need token or open
    port: Annotated[int, Field(ge=0, le=65535)] = 8000  # 0: any that is free
    hosts: list[str] = []  # further names that it is called by, as behind a proxy: music.example.org, localhost:8080
    token: SecretStr | None = None  # what requests have to bear: Authorization: Bearer TOKEN; @FILE: the file's content
    open: bool = False  # listen on other addresses without a token
    max_mb: Annotated[float, Field(gt=0)] = 200.0  # MB of an upload
    max_seconds: Annotated[float, Field(gt=0)] = 3600.0  # of audio in a file
    timeout: Annotated[float, Field(gt=0)] = 300.0  # seconds that a request may take, with upload and waiting
    rate: Positive | None = None  # requests a minute from one address; None: any number
    queue: Positive = 64  # requests at a time, waiting ones included; more are sent away (429)
    decoders: Positive | None = None  # processes that decode files; None: one a core
    decoder_mb: Positive = 2048  # MB of memory that the decoding of a file may take
    batch_wait: Annotated[float, Field(ge=0, le=1000)] = 4.0  # milliseconds that windows wait for others on a GPU
    record_every: Positive = 60  # seconds between two records of the counts in the run
    shutdown: Count = 60  # seconds that requests in flight have to end when the service is stopped

    @field_validator("models")
    @classmethod
    def _named(cls, models: dict[str, str]) -> dict[str, str]:
        for name in models:
            if not NAME.fullmatch(name) or name in TAKEN:
                raise ValueError(
                    f"models.{name}: a name has up to 40 lower-case letters, digits, - and _, and is not "
                    f"{' or '.join(TAKEN)}"
                )
        return models

    @field_validator("hosts")
    @classmethod
    def _named_as_in_addresses(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not HOST.fullmatch(host):
                raise ValueError(f"{host!r} is no name with or without a port, as music.example.org or localhost:8080")
        return hosts

    @model_validator(mode="after")
    def _closed(self) -> Self:
        for setting, names in (("encoders", self.encoders), ("heads", self.heads)):
            if unknown := [name for name in names if name not in self.models]:
                raise ValueError(f"{setting}.{unknown[0]}: there is no models.{unknown[0]} that it could belong to")
        given = self.token.get_secret_value() if self.token is not None else None
        if given is not None and len(given) < SHORTEST_TOKEN and not given.startswith("@"):
            raise ValueError(f"a token has at least {SHORTEST_TOKEN} characters: openssl rand -hex 32 gives one")
        if self.token is not None and self.open:
            raise ValueError("token and open=True contradict each other: give one of them")
        if not self.loopback and self.token is None and not self.open:
            raise ValueError(
                f"host={self.host} is seen by other machines: set service.token=@FILE (a secret of at least "
                f"{SHORTEST_TOKEN} characters that requests have to bear), or service.open=True to answer everybody"
            )
        return self

    @property
    def decoder_processes(self) -> int:
        """How many processes decode files."""
        return self.decoders or os.cpu_count() or 1

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
