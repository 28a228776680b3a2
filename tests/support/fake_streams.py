"""A stream server in memory, as an httpx transport: what the rooms' history needs of the protocol.

It passes ``tests/contract/test_streams_same.py`` as the real one does, and can be cruel: away,
slow, losing answers of what it has done, forgetting what it had.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

POLL_SECONDS = 0.5


@dataclass
class Stream:
    config: tuple[str, str | None]
    messages: list[Any] = field(default_factory=list)
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    closed: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)


def fine() -> str:
    return ""


@dataclass
class FakeStreams:
    """``weather`` is asked before each request: "" (fine), "away" (nothing is done), "lost" (it
    is done, and the answer lost), "sick" (503)."""

    streams: dict[str, Stream] = field(default_factory=dict)
    weather: Callable[[], str] = fine
    slow_seconds: float = 0.0
    asked: int = 0

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle))

    def told(self, room: str) -> list[Any]:
        found = self.streams.get(f"/v1/stream/rooms/{room}")
        return found.messages if found else []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await anyio.sleep(self.slow_seconds)
        weather = self.weather()
        if weather == "sick":
            return httpx.Response(503)
        if weather == "away":
            raise httpx.ConnectError("nobody listens")
        answer = await self._answer(request)
        if weather == "lost":
            raise httpx.ReadTimeout("no answer")
        return answer

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        stream = self.streams.get(request.url.path)
        if request.method == "PUT":
            return self._put(request, stream)
        if stream is None:
            return httpx.Response(404)
        if request.method == "HEAD":
            return httpx.Response(200, headers=at(len(stream.messages)))
        if request.method == "DELETE":
            del self.streams[request.url.path]
            return httpx.Response(204)
        if request.method == "POST":
            return post(stream, request)
        return await get(stream, request)

    def _put(self, request: httpx.Request, stream: Stream | None) -> httpx.Response:
        config = (request.headers["content-type"], request.headers.get("stream-ttl"))
        if stream is not None:
            return httpx.Response(200 if stream.config == config else 409)
        self.streams[request.url.path] = Stream(config)
        return httpx.Response(201, headers={"Location": str(request.url), **at(0)})


def at(offset: int) -> dict[str, str]:
    return {"Stream-Next-Offset": f"{offset:016d}"}


def post(stream: Stream, request: httpx.Request) -> httpx.Response:
    if request.headers.get("stream-closed") == "true":
        stream.closed = True
        return httpx.Response(204, headers=at(len(stream.messages)))
    if stream.closed:
        return httpx.Response(409, headers={"Stream-Closed": "true", **at(len(stream.messages))})
    if request.headers["content-type"] != stream.config[0]:
        return httpx.Response(409)
    refused = judge(stream, request)
    if refused is not None:
        return refused
    try:
        value = json.loads(request.content)
    except ValueError:
        return httpx.Response(400)
    stream.messages += value if isinstance(value, list) else [value]
    stamped = "producer-id" in request.headers
    if stamped:
        stream.producers[request.headers["producer-id"]] = stamp(request)
    stream.changed.set()
    stream.changed = anyio.Event()
    return httpx.Response(200 if stamped else 204, headers=at(len(stream.messages)))


def stamp(request: httpx.Request) -> tuple[int, int]:
    return int(request.headers["producer-epoch"]), int(request.headers["producer-seq"])


def judge(stream: Stream, request: httpx.Request) -> httpx.Response | None:
    """Idempotent producers; None if it is to be appended."""
    if "producer-id" not in request.headers:
        return None
    epoch, seq = stamp(request)
    known = stream.producers.get(request.headers["producer-id"])
    begins = known is not None and epoch > known[0]
    if epoch < 0 or seq < 0 or (begins and seq > 0):
        return httpx.Response(400)
    if begins:
        return None
    if known is not None and epoch < known[0]:
        return httpx.Response(403, headers={"Producer-Epoch": str(known[0])})
    last = -1 if known is None else known[1]
    if seq <= last:
        headers = {"Producer-Epoch": str(epoch), "Producer-Seq": str(last)}
        return httpx.Response(204, headers=headers)
    headers = {"Producer-Expected-Seq": str(last + 1), "Producer-Received-Seq": str(seq)}
    return None if seq == last + 1 else httpx.Response(409, headers=headers)


async def get(stream: Stream, request: httpx.Request) -> httpx.Response:
    """Catch-up or long-poll; an offset is a number of messages."""
    asked = request.url.params.get("offset", "-1")
    start = 0 if asked == "-1" else len(stream.messages) if asked == "now" else int(asked)
    live = request.url.params.get("live") == "long-poll"
    if live and start >= len(stream.messages) and not stream.closed:
        with anyio.move_on_after(POLL_SECONDS):
            await stream.changed.wait()
    found = stream.messages[start:]
    headers = {"Stream-Up-To-Date": "true", **at(len(stream.messages))}
    if stream.closed:
        headers["Stream-Closed"] = "true"
    if live:
        headers["Stream-Cursor"] = "1"
    if live and not found:
        return httpx.Response(204, headers=headers)
    return httpx.Response(200, headers=headers, json=found)
