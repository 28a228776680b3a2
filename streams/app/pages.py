"""What stands beside the streams: /healthz, /readyz and /metrics, open to all."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pkg.health import Readiness
from streams.app.answer import Answer
from streams.app.live import Waiting
from streams.store.store import Store

TEXT = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
METRICS = {"content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store"}


def pages(store: Store, waiting: Waiting, ready: Readiness) -> dict[str, Callable[[], Answer]]:
    registry = CollectorRegistry()
    registry.register(_Figures(store, waiting))
    return {
        "/healthz": lambda: Answer(200, TEXT, b"ok\n"),
        "/readyz": lambda: _readyz(store, ready),
        "/metrics": lambda: Answer(200, METRICS, generate_latest(registry)),
    }


def _readyz(store: Store, ready: Readiness) -> Answer:
    """200, or 503 with a line for each blocker."""
    blockers = dict(ready.blockers)
    if store.broken is not None:
        blockers["disk"] = store.broken
    if not blockers:
        return Answer(200, TEXT, b"ok\n")
    lines = [f"{name}: {reason}\n" for name, reason in blockers.items()]
    return Answer(503, TEXT, "".join(lines).encode())


class _Figures(Collector):
    """Read when asked for, so that serving counts nothing twice."""

    def __init__(self, store: Store, waiting: Waiting) -> None:
        self._store = store
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        counts, state = self._store.counts, self._store.state
        counters = {
            "appends": ("Appends made durable.", counts.appends),
            "appended_bytes": ("Bytes of them.", counts.appended_bytes),
            "created": ("Streams created.", counts.created),
            "deleted": ("Deletions asked for.", counts.deleted),
            "expired": ("Streams that reached their end.", counts.expired),
            "commits": ("Batches of the log, one fdatasync each.", self._store.batches),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"onair_streams_{name}", text, value)
        gauges = {
            "streams": ("Streams, hidden ones too.", len(state.by_id)),
            "unsettled": ("Commits under way.", self._store.unsettled),
            "readers": ("Live readers that wait.", self._waiting.readers),
            "broken": ("1 if the disk failed.", int(self._store.broken is not None)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"onair_streams_{name}", text, value)
