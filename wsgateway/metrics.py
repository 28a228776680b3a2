"""Prometheus metrics of the gateway, one registry per process."""

from collections import Counter as Count
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)

from pkg.model import HostStatus

# Else a second series for each, of no use here.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._hosts = Gauge("onair_gateway_hosts", "Hosts by status", ["status"], registry=registry)
        self._lease = Gauge(
            "onair_gateway_lease", "1 while etcd knows this gateway", registry=registry
        )
        self._handshakes = Counter(
            "onair_gateway_handshakes", "Handshakes by status", ["status"], registry=registry
        )
        self._closed = Counter(
            "onair_gateway_closed", "Connections ended, by close code", ["code"], registry=registry
        )
        self._frames = Counter("onair_gateway_frames", "Text frames", ["way"], registry=registry)
        self.received = self._frames.labels("in")
        self.sent = self._frames.labels("out")

    def handshake(self, status: int) -> None:
        self._handshakes.labels(str(status)).inc()

    def closed(self, code: int | None) -> None:
        """``code`` None: the socket ended first."""
        self._closed.labels(str(code or 1006)).inc()

    def render(self, hosts: Iterable[HostStatus], *, holds_lease: bool) -> bytes:
        """The text exposition format."""
        found = Count(hosts)
        for status in HostStatus:
            self._hosts.labels(status.value).set(found[status])
        self._lease.set(int(holds_lease))
        return generate_latest(self.registry)
