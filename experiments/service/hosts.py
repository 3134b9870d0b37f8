"""Whom a request is addressed to, and from which page it comes.

A page of another site can make a browser send requests here. It cannot read the answers, and `Origin` and
`Sec-Fetch-Site` say where such a request comes from. Unless its name is made to stand for this machine after it was
loaded (DNS rebinding): then the browser takes the service for the page's own, and only `Host` still tells.

So a request must name the service as it is known. Where other machines can reach it, any IP address will do, whatever
the port: rebinding needs a name, and behind the address translation of a container or router a service does not know
by which addresses it is reached. `localhost` is never looked up in the DNS (RFC 6761, section 6.3).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from experiments.service.problems import ServiceError
from experiments.settings import ServiceSettings

LOCAL = ("localhost", "127.0.0.1", "::1")
DEFAULT_PORTS = {"http": 80, "https": 443}
PAGES = ("/", "/docs")  # to which a link of another site may lead
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?", re.I | re.A)
_ORIGIN = re.compile(r"(https?)://(.{1,300})")


@dataclass(frozen=True)
class Authority:
    """A name or an address, and a port where one is given."""

    name: str
    port: int | None

    @classmethod
    def of(cls, text: str) -> Self | None:
        """What `name:port` stands for; None where it is none."""
        found = _AUTHORITY.fullmatch(text)
        if not found:
            return None
        name = found[2].lower().removesuffix(".") if found[2] else _compressed(found[1])
        port = int(found[3]) if found[3] else None
        return cls(name, port) if name and (port is None or 0 < port < 65536) else None


class Names:
    """The names of a service.

    Args:
        service: Its settings.
        port: That it listens at.
    """

    def __init__(self, service: ServiceSettings, port: int) -> None:
        self._port, self._loopback = port, service.loopback
        self._given = [one for host in service.hosts if (one := Authority.of(host))]
        self._own = {*LOCAL, _compressed(service.host) or service.host.lower()}

    def check_host(self, host: str | None) -> Authority:
        """The authority that a request names.

        Raises:
            ServiceError: It names none, or another one.
        """
        authority = Authority.of(host) if host is not None else None
        if authority is None:
            said = "no Host header" if host is None else f"Host: {host[:80]!r}"
            raise ServiceError(400, f"{said}: it has to name the service, as in Host: localhost:{self._port}")
        if not self._knows(authority):
            raise ServiceError(
                421,
                f"Host: {host[:80]!r} is no name of this service; where it is called so, say service.hosts=[{host}]"
                if len(host) <= 80
                else f"Host: {host[:80]!r}... is no name of this service",
            )
        return authority

    def check_origin(self, origin: str, host: Authority) -> None:
        """Make sure that a request comes from the service's own page.

        Args:
            origin: Header of the request.
            host: That it names.

        Raises:
            ServiceError: It does not.
        """
        found = _ORIGIN.fullmatch(origin)
        page = Authority.of(found[2]) if found else None
        if page:
            scheme = found[1]
            same = (page.name, page.port or DEFAULT_PORTS[scheme]) == (host.name, host.port or DEFAULT_PORTS["http"])
            if (same and scheme == "http") or self._is_given(page):
                return
        raise ServiceError(
            403,
            f"Origin: {origin[:80]!r} is another site, and the pages of others may not use this service; where it is "
            "called so, as behind a proxy, say so in service.hosts",
        )

    def _knows(self, host: Authority) -> bool:
        if self._is_given(host):
            return True
        if self._loopback:
            return host.name in self._own and (host.port or DEFAULT_PORTS["http"]) == self._port
        return host.name in self._own or _is_address(host.name)

    def _is_given(self, host: Authority) -> bool:
        """Whether the settings have it; one without a port is meant at the usual ports and at that of the service."""
        usual = (None, *DEFAULT_PORTS.values(), self._port)
        return any(
            one.name == host.name and (host.port in usual if one.port is None else host.port == one.port)
            for one in self._given
        )


def check_fetch(site: str | None, mode: str | None, dest: str | None, method: str, path: str) -> None:
    """Make sure that no page of another site sent a request, save by a link to a page of ours.

    Args:
        site, mode, dest: Headers `Sec-Fetch-...` of the request, which browsers send.
        method, path: Of the request.

    Raises:
        ServiceError: One did.
    """
    if site in (None, "same-origin", "none"):
        return
    if method == "GET" and path in PAGES and (mode, dest) == ("navigate", "document"):
        return
    raise ServiceError(403, "another site sent this request, and the pages of others may not use this service")


def _compressed(address: str) -> str:
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
