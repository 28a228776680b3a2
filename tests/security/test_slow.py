"""Callers who send slowly, or nothing: others are served at once, and the slow ones are let go."""

import anyio
import anyio.abc
import psutil
import pytest

from pkg.httpserver import BODY_SECONDS, HEADER_SECONDS
from tests.security.wire import Answer, Request, ask, read_answer
from tests.support.room_manager import Daemon

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]

GRACE_SECONDS = 15.0  # two cores, shared with other tests
SERVED_SECONDS = HEADER_SECONDS / 2  # nobody waits until the slow are let go
HALF_OPEN = 1000
HEAD = b"POST /api/rooms HTTP/1.1\r\nHost: x\r\n"
MEMORY_BYTES = 60 * 1024 * 1024


class Slow:
    """One caller: how long its connection lasted, and what it was told."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.answer: Answer | None = None

    async def run(self, port: int, first: bytes, then: bytes = b"") -> None:
        """Send ``first``, then ``then`` again and again, three times a second."""
        started = anyio.current_time()
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(first)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._drip, stream, then)
                self.answer = await read_answer(stream)
                self.seconds = anyio.current_time() - started
                tasks.cancel_scope.cancel()

    async def _drip(self, stream: anyio.abc.SocketStream, then: bytes) -> None:
        try:
            while then:
                await anyio.sleep(0.3)
                await stream.send(then)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


async def served_in(daemon: Daemon) -> float:
    started = anyio.current_time()
    key = {"Authorization": f"Bearer {daemon.api_key}"}
    answer = await ask(daemon.port, Request("GET", "/api/rooms", key))
    assert answer is not None
    assert answer.status == 200
    return anyio.current_time() - started


async def test_slow_senders_are_let_go_in_time(daemon: Daemon) -> None:
    json = b"Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
    keyed = HEAD + json % daemon.api_key.encode()
    alive = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    callers: dict[str, tuple[bytes, bytes, int | None]] = {
        "half a header": (HEAD, b"", None),
        "a header, byte by byte": (b"GET /api/rooms HTTP/1.1\r\nX: ", b"x", None),
        "header lines without end": (HEAD, b"X: y\r\n", None),
        "empty lines without end": (b"\r\n", b"\r\n", None),
        "half a body": (keyed + b"Content-Length: 100\r\n\r\n{", b"", 408),
        "a body, byte by byte": (keyed + b"Content-Length: 100\r\n\r\n{", b" ", 408),
        "chunks without end": (keyed + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 408),
    }
    after = {name: Slow() for name in callers}
    kept = Slow()
    with anyio.fail_after(max(HEADER_SECONDS, BODY_SECONDS) + GRACE_SECONDS + 10):
        async with anyio.create_task_group() as tasks:
            for name, (first, then, _) in callers.items():
                tasks.start_soon(after[name].run, daemon.port, first, then)
            tasks.start_soon(_crlf_after_an_answer, daemon.port, alive, kept)
            await anyio.sleep(1)
            assert await served_in(daemon) < SERVED_SECONDS
    for name, (_, _, status) in callers.items():
        seconds, answer = after[name].seconds, after[name].answer
        assert seconds is not None, name
        assert HEADER_SECONDS - 1 < seconds < HEADER_SECONDS + GRACE_SECONDS, (name, seconds)
        assert (answer.status if answer else None) == status, name
    assert kept.seconds is not None
    assert kept.seconds < HEADER_SECONDS + GRACE_SECONDS


async def _crlf_after_an_answer(port: int, first: bytes, slow: Slow) -> None:
    """Line ends between requests belong to none of them: they must not keep a connection."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(first)
        await read_answer(stream)
        started = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow._drip, stream, b"\r\n")
            await read_answer(stream)
            slow.seconds = anyio.current_time() - started
            tasks.cancel_scope.cancel()


async def test_a_thousand_half_open_connections_hinder_nobody(daemon: Daemon) -> None:
    process = psutil.Process(daemon.pid)
    await served_in(daemon)
    before = process.memory_info().rss
    streams = []
    try:
        for n in range(HALF_OPEN):
            stream = await anyio.connect_tcp("127.0.0.1", daemon.port)
            streams.append(stream)
            await stream.send((b"", HEAD, HEAD + b"X: " + b"x" * 8000)[n % 3])
        assert await served_in(daemon) < SERVED_SECONDS
        assert process.memory_info().rss - before < MEMORY_BYTES
        with anyio.fail_after(HEADER_SECONDS + GRACE_SECONDS):
            while process.num_fds() > 100:
                await anyio.sleep(0.1)
        assert await served_in(daemon) < SERVED_SECONDS
    finally:
        for stream in streams:
            await stream.aclose()


async def test_more_connections_than_allowed_cost_the_oldest_silent_one(daemon: Daemon) -> None:
    """As many as there may be, all silent, and still the next caller is served."""
    limit = await _limit_files(daemon, 700)
    streams = [await anyio.connect_tcp("127.0.0.1", daemon.port) for _ in range(limit + 50)]
    try:
        for _ in range(5):
            assert await served_in(daemon) < SERVED_SECONDS
        with anyio.fail_after(30):
            assert await read_answer(streams[0]) is None
    finally:
        for stream in streams:
            await stream.aclose()


async def _limit_files(daemon: Daemon, files: int) -> int:
    """Start it again as on a machine with few files a process; answers its connections."""
    daemon.restart(f"prlimit --nofile={files}:{files}")
    return files - 512
