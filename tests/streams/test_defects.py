"""What the published Node server does wrong (spec/durable-streams.md §3), each done right here."""

from pathlib import Path

import anyio
import httpx
import pytest

from streams.store import check
from tests.support.streams_server import Server, server

pytestmark = pytest.mark.anyio

TEXT = {"content-type": "text/plain"}
A, FORK = "/v1/stream/a", "/v1/stream/fork"
FROM_A = {"stream-forked-from": A}


async def made(found: Server, path: str = A, body: bytes = b"one,") -> None:
    answer = await found.http.put(path, headers=TEXT, content=body)
    assert answer.status_code == 201


async def all_of(found: Server, path: str = A) -> bytes:
    answer = await found.http.get(path)
    assert answer.status_code == 200
    return answer.content


class Asked:
    """A request under way; ``answer`` is there once it is done."""

    def __init__(self) -> None:
        self.answer: httpx.Response | None = None

    @property
    def status(self) -> int | None:
        return self.answer.status_code if self.answer else None


async def seen_by_store(found: Server, count: int) -> None:
    """Wait until that many requests stand before the shut gate."""
    with anyio.fail_after(30):
        while found.store.unsettled < count:
            await anyio.sleep(0.01)


async def ask(found: Server, asked: Asked, method: str, path: str, **options: object) -> None:
    asked.answer = await found.http.request(method, path, **options)  # type: ignore[arg-type]


async def test_a_close_beside_an_append_in_flight_is_kept(tmp_path: Path) -> None:
    append, close = Asked(), Asked()
    async with server(tmp_path) as found:
        await made(found)
        found.files.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(found, append, "POST", A, headers=TEXT, content=b"two"))
            await seen_by_store(found, 1)
            closing = {"stream-closed": "true"}
            tasks.start_soon(lambda: ask(found, close, "POST", A, headers=closing))
            await seen_by_store(found, 2)
            found.files.gate.set()
        assert (append.status, close.status) == (204, 204)
    async with server(tmp_path) as found:
        answer = await found.http.get(A)
        assert (answer.content, answer.headers["stream-closed"]) == (b"one,two", "true")


async def test_a_fork_taken_during_an_append_keeps_what_it_inherited(tmp_path: Path) -> None:
    append, fork = Asked(), Asked()
    async with server(tmp_path) as found:
        await made(found)
        found.files.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(found, append, "POST", A, headers=TEXT, content=b"two"))
            await seen_by_store(found, 1)
            tasks.start_soon(lambda: ask(found, fork, "PUT", FORK, headers=FROM_A))
            await seen_by_store(found, 2)
            found.files.gate.set()
        assert fork.status == 201
        assert (await found.http.delete(A)).status_code == 204
        assert await all_of(found, FORK) == b"one,"
    async with server(tmp_path) as found:
        assert await all_of(found, FORK) == b"one,"
        assert (await found.http.get(A)).status_code == 410


async def test_a_torn_tail_is_cut_at_the_start(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await made(found)
    (segment,) = (tmp_path / "wal").iterdir()
    with segment.open("ab") as file:
        file.write(b"oWAL" + bytes(100) + b"half a frame")
    async with server(tmp_path) as found:
        assert await all_of(found) == b"one,"
        await found.http.post(A, headers=TEXT, content=b"two")
    async with server(tmp_path) as found:
        assert await all_of(found) == b"one,two"
    assert check.check(tmp_path).ok


async def test_an_append_beside_a_delete_neither_hangs_nor_resurrects(tmp_path: Path) -> None:
    delete, append = Asked(), Asked()
    async with server(tmp_path) as found:
        await made(found)
        found.files.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(found, delete, "DELETE", A))
            await seen_by_store(found, 1)
            tasks.start_soon(lambda: ask(found, append, "POST", A, headers=TEXT, content=b"two"))
            await seen_by_store(found, 2)
            found.files.gate.set()
        assert (delete.status, append.status) == (204, 404)
        assert (await found.http.get(A)).status_code == 404
    async with server(tmp_path) as found:
        assert (await found.http.get(A)).status_code == 404


async def test_bytes_that_are_not_durable_are_not_read(tmp_path: Path) -> None:
    append = Asked()
    async with server(tmp_path) as found:
        await made(found)
        before = await found.http.get(A)
        found.files.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(found, append, "POST", A, headers=TEXT, content=b"two"))
            await seen_by_store(found, 1)
            assert await all_of(found) == b"one,"
            head = await found.http.head(A)
            assert head.headers["stream-next-offset"] == before.headers["stream-next-offset"]
            known = {"if-none-match": before.headers["etag"]}
            assert (await found.http.get(A, headers=known)).status_code == 304
            found.files.gate.set()
        assert await all_of(found) == b"one,two"


@pytest.mark.parametrize("closes", [True, False])
async def test_a_waiting_long_poll_gets_the_last_message_of_append_and_close(
    tmp_path: Path, closes: bool
) -> None:
    poll = Asked()
    async with server(tmp_path) as found:
        await made(found)
        url = f"{A}?offset=now&live=long-poll"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(found, poll, "GET", url))
            with anyio.fail_after(30):
                while not found.waiting.readers:
                    await anyio.sleep(0.01)
            closing = {"stream-closed": "true"} if closes else {}
            await found.http.post(A, headers=TEXT | closing, content=b"last")
        assert poll.answer is not None
        assert (poll.status, poll.answer.content) == (200, b"last")
        assert poll.answer.headers.get("stream-closed") == ("true" if closes else None)


async def test_an_expired_source_with_forks_is_not_made_anew_under_them(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        mortal = TEXT | {"stream-ttl": "5"}
        await found.http.put(A, headers=mortal, content=b"one,")
        await found.http.put(FORK, headers=FROM_A | {"stream-ttl": "500"})
        found.time.seconds += 6
        assert (await found.http.put(A, headers=mortal, content=b"other")).status_code == 409
        assert (await found.http.get(A)).status_code in {404, 410}
        assert await all_of(found, FORK) == b"one,"


async def test_a_repeated_fork_is_the_same_fork(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT | {"stream-ttl": "50"}, content=b"one,")
        assert (await found.http.put(FORK, headers=FROM_A)).status_code == 201
        await found.http.post(A, headers=TEXT, content=b"two")
        assert (await found.http.put(FORK, headers=FROM_A)).status_code == 200


async def test_closed_is_true_in_any_case_of_letters(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await made(found)
        answer = await found.http.post(A, headers={"stream-closed": "TRUE"})
        assert (answer.status_code, answer.headers["stream-closed"]) == (204, "true")


async def test_closing_a_soft_deleted_stream_is_gone(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await made(found)
        await found.http.put(FORK, headers=FROM_A)
        await found.http.delete(A)
        assert (await found.http.post(A, headers={"stream-closed": "true"})).status_code == 410


@pytest.mark.parametrize("forked", [False, True])
async def test_an_event_stream_ends_with_its_stream(tmp_path: Path, forked: bool) -> None:
    async with server(tmp_path) as found:
        await made(found)
        if forked:
            await found.http.put(FORK, headers=FROM_A)
        url = f"{A}?offset=-1&live=sse"
        async with found.http.stream("GET", url) as events:
            pieces = events.aiter_bytes()
            assert b"data:one," in await anext(pieces)
            assert (await found.http.delete(A)).status_code == 204
            with anyio.fail_after(30):
                rest = [piece async for piece in pieces]
        assert b"streamClosed" not in b"".join(rest)
