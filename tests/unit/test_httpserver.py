"""uvicorn held to limits, in one process: what a proxy may claim, slow readers, half bodies."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from pkg import httpserver
from pkg.errors import ConfigError
from pkg.httpserver import BodyLimit, Receive, Scope, Send
from tests.security.wire import Answer, Request, ask, read_answer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def refuse(send: Send, status: int, detail: str) -> None:
    await respond(send, status, detail.encode())


async def respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells who is calling and what the body was."""
    message = await receive()
    said = {"client": scope["client"][0], "body": message.get("body", b"").decode()}
    await respond(send, 200, json.dumps(said).encode())


@asynccontextmanager
async def serving(
    app: Callable[[Scope, Receive, Send], Awaitable[None]] = echo, *proxies: str
) -> AsyncGenerator[int]:
    bound = httpserver.listen("127.0.0.1:0")
    async with httpserver.serving(BodyLimit(app, refuse), bound, proxies):
        yield bound.getsockname()[1]


async def told(port: int, request: Request) -> Any:
    answer = await ask(port, request)
    assert answer is not None
    assert answer.status == 200
    return answer.document


@pytest.mark.parametrize(
    ("proxies", "client"),
    [((), "127.0.0.1"), (("10.0.0.0/8",), "127.0.0.1"), (("127.0.0.1",), "192.0.2.7")],
)
async def test_only_a_trusted_proxy_may_name_its_client(
    proxies: tuple[str, ...], client: str
) -> None:
    async with serving(echo, *proxies) as port:
        found = await told(port, Request(headers={"X-Forwarded-For": "192.0.2.7"}))
        assert found["client"] == client


async def test_the_app_gets_the_whole_body_or_is_not_called() -> None:
    called: list[bytes] = []

    async def remember(scope: Scope, receive: Receive, send: Send) -> None:
        called.append((await receive())["body"])
        await respond(send, 200, b"{}")

    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    async with serving(remember) as port:
        for raw in (
            head + b"Content-Length: 9\r\n\r\n{}",
            head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n-1\r\n",
        ):
            await ask(port, Request(raw=raw), close_after=True)
        whole = Request(raw=head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        assert await ask(port, whole) is not None
    assert called == [b"{}"]


async def test_two_requests_on_one_connection_are_both_answered() -> None:
    one = Request("POST", "/", body=b"one").encode()
    two = Request("POST", "/", body=b"two").encode()
    async with serving() as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        with anyio.fail_after(30):
            await stream.send(one)
            assert (await _next(stream)).document["body"] == "one"
            await stream.send(two)
            assert (await _next(stream)).document["body"] == "two"


async def _next(stream: anyio.abc.SocketStream) -> Answer:
    answer = await read_answer(stream)
    assert answer is not None
    return answer


async def test_a_reader_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpserver, "WRITE_SECONDS", 0.3)
    gone = anyio.Event()

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b"x" * 50_000_000)
        gone.set()

    async with serving(large) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(Request().encode())
        with anyio.fail_after(30):
            await gone.wait()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:x", "300.0.0.1:1"])
def test_an_address_that_cannot_be_had_is_named(address: str) -> None:
    with pytest.raises(ConfigError, match=address):
        httpserver.listen(address)


async def test_large_bodies_are_told_so_rather_than_reset() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a body that is too large must not arrive")

    async with serving(never) as port:
        for size in (64 * 1024 + 1, 1_000_000, 6_000_000):
            answer = await ask(port, Request("POST", "/", body=b"x" * size))
            assert answer is not None, size
            assert answer.status == 413
