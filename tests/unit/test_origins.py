"""An origin that hangs or fails is its own rooms' trouble only, and is logged as one outage."""

from collections import Counter

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from pkg.model import Epoch
from roommanager.origins import AT_ONCE, WAITING, WHOLE_SECONDS, Origins
from roommanager.sources import NotYetError, Source
from tests.support.virtual import BLUE

pytestmark = pytest.mark.anyio
DEAD, WELL = (Source(BLUE, "n", Epoch(5), f"http://{host}") for host in ("dead", "well"))


class Hosts:
    """``dead`` hangs for so many seconds, ``well`` answers; ``most`` asked each at once."""

    def __init__(self) -> None:
        self.hang_seconds = 60.0
        self.busy: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.status = 200
        self.origins = Origins(httpx.AsyncClient(transport=httpx.MockTransport(self)))
        self.answers: Counter[str] = Counter()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.busy[host] += 1
        self.most[host] = max(self.most[host], self.busy[host])
        try:
            await anyio.sleep(self.hang_seconds if host == "dead" else 0.01)
        finally:
            self.busy[host] -= 1
        return httpx.Response(self.status, content=b"x")

    async def get(self, source: Source) -> None:
        try:
            found = await self.origins.get(source, "live.m3u8")
            self.answers[source.origin] += found == b"x"
        except NotYetError:
            self.answers[f"not yet {source.origin}"] += 1


async def test_one_that_hangs_holds_a_few_connections_and_nobody_for_long() -> None:
    hosts = Hosts()
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(2 * (AT_ONCE + WAITING)):
            tasks.start_soon(hosts.get, DEAD)
        await anyio.sleep(0.1)
        assert hosts.answers["not yet http://dead"] == AT_ONCE + WAITING, "the others at once"
        for _ in range(100):
            tasks.start_soon(hosts.get, WELL)
        await anyio.sleep(1)
        assert hosts.answers["http://well"] == 100
    assert hosts.most == {"dead": AT_ONCE, "well": AT_ONCE}
    assert anyio.current_time() - began <= WHOLE_SECONDS + 0.01
    hosts.hang_seconds = 0.01
    await hosts.get(DEAD)
    assert hosts.answers["http://dead"] == 1, "all have left the queue"


async def test_an_outage_is_logged_when_it_begins_once_a_minute_and_when_it_is_over() -> None:
    hosts = Hosts()
    with capture_logs() as logs:
        hosts.hang_seconds, hosts.status = 0.3, 503
        for _ in range(300):
            await hosts.get(DEAD)
        hosts.status = 404
        assert await hosts.origins.get(DEAD, "live.m3u8") is None
    assert [line["event"] for line in logs] == ["origin.failed"] * 2 + ["origin.recovered"]
    assert logs[0] == {
        "event": "origin.failed",
        "log_level": "warning",
        "origin": "http://dead",
        "room": BLUE,
        "error": "HTTP 503",
    }
