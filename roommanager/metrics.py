"""Prometheus metrics of the room manager, one registry per process."""

from collections import Counter as Count

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from pkg.informer import UndecodableError
from pkg.model import Kind
from roommanager.status import RoomStatus, derive
from roommanager.view import View

# Else a second series for each, of no use here.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    def __init__(self, view: View) -> None:
        self._view = view
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "onair_http_requests", "Requests answered", ["method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "onair_http_request_seconds", "Time to answer", ["method"], registry=self.registry
        )
        self._rooms = Gauge("onair_rooms", "Rooms by status", ["status"], registry=self.registry)
        self._capacity = Gauge(
            "onair_module_capacity",
            "Places of a module",
            ["kind", "module"],
            registry=self.registry,
        )
        self._used = Gauge(
            "onair_module_used", "Places taken", ["kind", "module"], registry=self.registry
        )

    def render(self) -> bytes:
        """The text exposition format; gauges are read from the copy at this moment."""
        statuses = Count(self._statuses())
        for status in RoomStatus:
            self._rooms.labels(status.value).set(statuses[status])
        self._capacity.clear()
        self._used.clear()
        for kind in Kind:
            for module in self._view.fleet.of(kind):
                self._capacity.labels(kind.value, module.module_id).set(module.capacity or 0)
                self._used.labels(kind.value, module.module_id).set(len(module.slots))
        return generate_latest(self.registry)

    def _statuses(self) -> list[RoomStatus]:
        found = []
        for room_id in self._view.rooms():
            try:
                facts = self._view.room(room_id)
            except UndecodableError:
                continue
            if facts.meta is not None:
                found.append(derive(facts))
        return found
