"""How many requests an address may send.

Each address has a bucket of as many tokens as it may send requests a minute; a request takes one, and they come back
evenly. So many requests may come at once, and on average no more than that a minute.

The address is that of the connection. Headers such as `X-Forwarded-For` are not believed, since anybody can send them.
So behind a proxy all requests count as from one address: let the proxy limit them.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from experiments.service.problems import ServiceError

REMEMBERED = 4096  # addresses; those that were not heard of for the longest time are forgotten
NETWORK = 64  # bits of an IPv6 address that a connection to the internet is given; the others are its owner's choice


class Rates:
    """Limits the requests of each address.

    Args:
        rate: Requests a minute.
        clock: Seconds.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Count a request.

        Raises:
            ServiceError: It is one too many; says when to come again.
        """
        now, key = self._clock(), _network(address)
        left, then = self._buckets.pop(key, (float(self._rate), now))
        left = min(left + (now - then) * self._rate / 60, self._rate)
        self._buckets[key] = (left - 1 if left >= 1 else left), now
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) * 60 / self._rate)
            raise ServiceError(
                429,
                f"more than {self._rate} requests a minute from this address: come again in {wait} s",
                {"Retry-After": str(wait)},
            )


def _network(address: str) -> str:
    """An IPv4 address, or the part of an IPv6 address that tells its owner."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, NETWORK), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
