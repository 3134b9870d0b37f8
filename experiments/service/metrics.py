"""What the service counts: for Prometheus, and for its own run."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ELSEWHERE = "other"  # the path of a request to an address that is not there
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds
disable_created_metrics()


class Counts:
    """Counters of one service.

    Attributes:
        audio: Seconds of audio that were decoded.
        in_flight: Requests that are not answered yet.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        common = {"namespace": "ostinato", "registry": self._registry}
        self.audio = Counter("audio_seconds", "Audio that was decoded", **common)
        self.in_flight = Gauge("requests_in_flight", "Requests that are not answered yet", **common)
        self._requests = Counter("requests", "Requests that were answered", ("path", "status"), **common)
        self._seconds = Histogram("request_seconds", "From request to answer", ("path",), buckets=BUCKETS, **common)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            path: As the schema has it.
            status: Of HTTP.
            seconds: That it took.
        """
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All counts in the text format of Prometheus."""
        return generate_latest(self._registry)

    def summary(self) -> dict[str, float]:
        """What a run records: `requests` and `failures` (status 500 and above), `refusals` (400 to 499), and
        `audio_seconds`."""
        found = {"requests": 0.0, "refusals": 0.0, "failures": 0.0}
        for sample in _samples(self._requests):
            status = int(sample.labels["status"])
            found["requests"] += sample.value
            found["refusals"] += sample.value * (400 <= status < 500)
            found["failures"] += sample.value * (status >= 500)
        return {**found, "audio_seconds": round(sum(one.value for one in _samples(self.audio)), 3)}


def _samples(counter: Counter) -> list:
    return [sample for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total")]


class Counted:
    """An application whose requests are counted.

    Args:
        app: The application.
        counts: Where they are counted.
    """

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count the answer under the path of the schema, never under that of the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._counts.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, noted)
            finally:
                self._counts.answered(_path(scope), status, time.perf_counter() - start)


def _path(scope: Mapping) -> str:
    return getattr(scope.get("route"), "path", ELSEWHERE)
