"""The known defects of the Node server from outside, for any server of the protocol: by hand.

``ONAIR_TEST_STREAMS_COMMAND`` starts the server, with ``{port}`` and ``{data}`` in it. With a disk
made slow, the races are met every time (docs/streams.md has the lines and the results). That ours
is free of them shows ``test_defects`` in every run, with its disk held still.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.tcp import free_port

COMMAND = os.environ.get("ONAIR_TEST_STREAMS_COMMAND", "")  # noqa: TID251
PATIENCE_SECONDS = 60.0
RACE_SECONDS = 0.1  # from one request to the one beside it
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not COMMAND, reason="by hand, with ONAIR_TEST_STREAMS_COMMAND"),
]

TEXT = {"content-type": "text/plain"}
CLOSING = {"stream-closed": "true"}
A, FORK = "/v1/stream/a", "/v1/stream/fork"
FROM_A = {"stream-forked-from": A}
MORE = b"two," * 20_000


@contextmanager
def started(data: Path) -> Generator[str]:
    """The server of ``COMMAND``; killed at the end."""
    data.mkdir(exist_ok=True)
    port = free_port()
    argv = shlex.split(COMMAND.format(port=port, data=data))
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def serving(root: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a server that is killed at the end, and keeps its folder."""
    with started(root / "data") as url:
        async with httpx.AsyncClient(
            base_url=url, timeout=PATIENCE_SECONDS, trust_env=False
        ) as http:
            with anyio.fail_after(PATIENCE_SECONDS):
                while not await _answers(http):
                    await anyio.sleep(0.05)
            yield http


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/v1/stream/none")).status_code == 404
    except httpx.TransportError:
        return False


async def made(http: httpx.AsyncClient, **more: str) -> None:
    answer = await http.put(A, headers=TEXT | more, content=b"one,")
    assert answer.status_code == 201


async def all_of(http: httpx.AsyncClient, path: str = A) -> bytes:
    answer = await http.get(path)
    assert answer.status_code == 200
    return answer.content


class Beside:
    """An append under way while the block runs; ``status`` afterwards."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.status = 0

    async def _append(self) -> None:
        self.status = (await self._http.post(A, headers=TEXT, content=MORE)).status_code

    async def __aenter__(self) -> "Beside":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._append)
        await anyio.sleep(RACE_SECONDS)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._tasks.__aexit__(*error)  # type: ignore[arg-type]


async def test_close_beside_append(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        async with Beside(http):
            assert (await http.post(A, headers=CLOSING)).status_code == 204
        assert (await http.head(A)).headers.get("stream-closed") == "true"
    async with serving(tmp_path) as http:
        assert (await http.head(A)).headers.get("stream-closed") == "true"


async def test_fork_beside_append(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        async with Beside(http):
            assert (await http.put(FORK, headers=FROM_A)).status_code == 201
        inherited = await all_of(http, FORK)
        assert (await http.delete(A)).status_code == 204
        assert await all_of(http, FORK) == inherited
        assert inherited.startswith(b"one,")


async def test_torn_tail(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
    logs = [path for path in (tmp_path / "data").rglob("*") if path.suffix in {".log", ".wal"}]
    assert logs
    for path in logs:
        with path.open("ab") as file:
            file.write(b"\0\0\0\x50half")  # of a frame
    async with serving(tmp_path) as http:
        assert await all_of(http) == b"one,"
        assert (await http.post(A, headers=TEXT, content=b"two")).status_code == 204
        assert await all_of(http) == b"one,two"
    async with serving(tmp_path) as http:
        assert await all_of(http) == b"one,two"


async def test_append_beside_delete(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        async with Beside(http):
            assert (await http.delete(A)).status_code == 204
        assert (await http.get(A)).status_code == 404
        await made(http)
        assert await all_of(http) == b"one,"
    async with serving(tmp_path) as http:
        assert await all_of(http) == b"one,"


async def test_read_beside_append(tmp_path: Path) -> None:
    """What is read before it is acknowledged is only wrong if the append takes long after that."""
    async with serving(tmp_path) as http:
        await made(http)
        async with Beside(http) as append:
            seen = await all_of(http)
            await anyio.sleep(0.05)
            under_way = append.status == 0
        assert not (under_way and seen != b"one,")


@pytest.mark.parametrize("closes", [True, False])
async def test_long_poll_and_the_last_message(tmp_path: Path, closes: bool) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        found: list[httpx.Response] = []

        async def poll() -> None:
            found.append(await http.get(f"{A}?offset=now&live=long-poll"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await anyio.sleep(1.0)
            closing = CLOSING if closes else {}
            await http.post(A, headers=TEXT | closing, content=b"last")
        assert (found[0].status_code, found[0].content) == (200, b"last")


async def test_expired_source_with_forks(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http, **{"stream-ttl": "3"})
        forked = await http.put(FORK, headers=FROM_A | {"stream-ttl": "500"})
        assert forked.status_code == 201
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await http.head(A)).status_code == 200:
                await anyio.sleep(0.2)
        again = await http.put(A, headers=TEXT | {"stream-ttl": "3"}, content=b"other")
        assert again.status_code == 409
        assert await all_of(http, FORK) == b"one,"


async def test_fork_asked_for_twice(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http, **{"stream-ttl": "500"})
        assert (await http.put(FORK, headers=FROM_A)).status_code == 201
        await http.post(A, headers=TEXT, content=b"two")
        assert (await http.put(FORK, headers=FROM_A)).status_code == 200


async def test_closed_in_capitals(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        assert (await http.post(A, headers={"stream-closed": "TRUE"})).status_code == 204


async def test_close_of_a_soft_deleted_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        await http.put(FORK, headers=FROM_A)
        await http.delete(A)
        assert (await http.post(A, headers=CLOSING)).status_code == 410


async def test_events_of_a_deleted_stream_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as http:
        await made(http)
        async with http.stream("GET", f"{A}?offset=-1&live=sse") as events:
            pieces = events.aiter_bytes()
            seen = b""
            while b"one," not in seen:
                seen += await anext(pieces)
            assert (await http.delete(A)).status_code == 204
            with anyio.fail_after(15):
                assert b"streamClosed" not in b"".join([piece async for piece in pieces])
