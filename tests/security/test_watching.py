"""Those who watch `/api/live` of a real room manager: pushed to, bounded, and let go at its end."""

import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
import psutil
import pytest

from tests.security.wire import Request, ask
from tests.support.room_manager import Daemon

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]
BOUND_SECONDS = 30.0


@asynccontextmanager
async def watching(daemon: Daemon) -> AsyncGenerator[AsyncGenerator[tuple[str, object]]]:
    keyed = {"Authorization": f"Bearer {daemon.api_key}"}
    async with (
        httpx.AsyncClient(base_url=daemon.url, headers=keyed, timeout=BOUND_SECONDS) as client,
        client.stream("GET", "/api/live") as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


async def events(answer: httpx.Response) -> AsyncGenerator[tuple[str, object]]:
    event = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, json.loads(line.removeprefix("data: "))


async def create(daemon: Daemon, room: str, size: int = 0) -> None:
    headers = {"Authorization": f"Bearer {daemon.api_key}", "Content-Type": "application/json"}
    body = {"roomId": room, "metadata": {"x": "x" * size}}
    request = Request("POST", "/api/rooms", headers, json.dumps(body).encode())
    answer = await ask(daemon.port, request)
    assert answer is not None
    assert answer.status == 201, answer


async def test_what_happens_is_pushed_and_the_end_of_the_room_manager_ends_it(
    daemon: Daemon,
) -> None:
    with anyio.fail_after(BOUND_SECONDS):
        async with watching(daemon) as found:
            assert await anext(found) == ("snapshot", {"rooms": [], "modules": []})
            await create(daemon, "blue")
            name, room = await anext(found)
            assert (name, room["roomId"]) == ("room", "blue")  # type: ignore[index]
            process = psutil.Process(daemon.pid)
            process.send_signal(signal.SIGTERM)
            assert [event async for event in found] == [], "it ends as a stream should"
            await anyio.to_thread.run_sync(process.wait, BOUND_SECONDS)
    assert "service.stopped" in daemon.said
    assert "Traceback" not in daemon.said


async def test_who_takes_nothing_costs_nothing_and_disturbs_nobody(daemon: Daemon) -> None:
    """Thirty who never read, while some 15 MB would be due to them."""
    request = (
        f"GET /api/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.api_key}\r\n\r\n"
    ).encode()
    process = psutil.Process(daemon.pid)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            before = process.memory_info().rss
            for _ in range(30):
                tasks.start_soon(_deaf, daemon.port, request)
            async with watching(daemon) as found:
                await anext(found)
                for number in range(10):
                    await create(daemon, f"r{number}", size=50_000)
                seen: set[str] = set()
                while len(seen) < 10:
                    name, room = await anext(found)
                    seen |= {room["roomId"]} if name == "room" else set()  # type: ignore[index]
            assert process.memory_info().rss - before < 60_000_000
            tasks.cancel_scope.cancel()
    assert daemon.alive()


async def _deaf(port: int, request: bytes) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        await anyio.sleep_forever()
