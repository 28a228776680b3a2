"""Another's client, PyPI's ``durable-streams`` 0.1.0, as a witness that knows nothing of us.

It has no producers and no closing of streams; those the official suite and the tests beside judge.
"""

import threading
from collections.abc import Callable, Generator

import anyio
import httpx
import pytest
from durable_streams import (
    AsyncDurableStream,
    DurableStream,
    SeqConflictError,
    StreamExistsError,
    StreamNotFoundError,
    astream,
    stream,
)

from tests.support.streams_process import Process, running

PATIENCE_SECONDS = 30.0
START = "-1"  # a live read needs an offset (§5.7), and this client sends none by itself


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Generator[Process]:
    folder = tmp_path_factory.mktemp("client")
    with running(folder / "data", folder / "log", "--long-poll-timeout", "1") as found:
        yield found


@pytest.fixture
def http() -> Generator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as found:
        yield found


@pytest.fixture
def url(process: Process, request: pytest.FixtureRequest) -> str:
    """A stream of its own for each test."""
    return f"{process.streams}/{request.node.name}"


def later(do: Callable[[], object]) -> threading.Timer:
    """While the reader waits, most likely; it must be right either way."""
    found = threading.Timer(0.2, do)
    found.start()
    return found


def test_what_is_appended_is_read_from_any_offset(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, content_type="text/plain", body="one,", client=http)
    middle = handle.append("two,").next_offset
    tail = handle.append(b"three").next_offset
    with stream(url, live=False, client=http) as found:
        assert found.read_text() == "one,two,three"
        assert (found.offset, found.up_to_date) == (tail, True)
    with stream(url, offset=middle, live=False, client=http) as found:
        assert found.read_bytes() == b"three"
    head = DurableStream.connect(url, client=http).head()
    assert (head.content_type, head.offset) == ("text/plain", tail)


def test_bytes_stay_bytes(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, client=http)
    every = bytes(range(256)) * 5000
    handle.append(every, content_type="application/octet-stream")
    with stream(url, live=False, client=http) as found:
        assert b"".join(found) == every


def test_json_comes_back_as_values(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, content_type="application/json", client=http)
    values = [{"a": [1, 2.5, None]}, "text", 12345678901234567890, [[1]]]
    for value in values:
        handle.append(value)
    with stream(url, live=False, client=http) as found:
        assert found.read_json() == values


def test_appends_of_many_threads_are_batched_and_all_there(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, content_type="application/json", client=http)
    threads = [threading.Thread(target=handle.append, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stream(url, live=False, client=http) as found:
        assert sorted(found.read_json()) == list(range(50))


@pytest.mark.parametrize("live", ["long-poll", "sse"])
def test_a_live_reader_gets_what_is_appended_while_it_waits(
    url: str, http: httpx.Client, live: str
) -> None:
    handle = DurableStream.create(url, content_type="application/json", body=[0], client=http)
    writer = later(lambda: [handle.append(number) for number in (1, 2, 3)])
    seen: list[int] = []
    with stream(url, offset=START, live=live, client=http) as found:  # type: ignore[arg-type]
        for value in found.iter_json():
            seen.append(value)
            if value == 3:
                break
    writer.join()
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("live", ["long-poll", "sse"])
def test_a_reader_that_comes_back_misses_and_repeats_nothing(
    url: str, http: httpx.Client, live: str
) -> None:
    handle = DurableStream.create(url, content_type="text/plain", body="a", client=http)
    with stream(url, offset=START, live=live, client=http) as found:  # type: ignore[arg-type]
        first = next(found.iter_events("text"))
    assert first.data == "a"
    handle.append("b")
    with stream(url, offset=first.next_offset, live=live, client=http) as found:  # type: ignore[arg-type]
        second = next(found.iter_events("text"))
    assert second.data == "b"


def test_conflicts_are_told_as_such(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, content_type="text/plain", client=http, batching=False)
    DurableStream.create(url, content_type="text/plain", client=http)
    with pytest.raises(StreamExistsError):
        DurableStream.create(url, content_type="application/json", client=http)
    handle.append("x", seq="2")
    with pytest.raises(SeqConflictError):
        handle.append("y", seq="10")
    with stream(url, live=False, client=http) as found:
        assert found.read_text() == "x"


def test_what_is_deleted_is_gone(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, content_type="text/plain", ttl_seconds=60, client=http)
    handle.delete()
    with pytest.raises(StreamNotFoundError):
        handle.head()
    with pytest.raises(StreamNotFoundError):
        stream(url, live=False, client=http)
    with pytest.raises(StreamNotFoundError):
        handle.append("x")


def test_a_stream_that_is_closed_elsewhere_takes_no_more(url: str, http: httpx.Client) -> None:
    handle = DurableStream.create(url, content_type="text/plain", body="all", client=http)
    assert http.post(url, headers={"stream-closed": "true"}).status_code == 204
    with pytest.raises(SeqConflictError):
        handle.append("more")
    with stream(url, live=False, client=http) as found:
        assert found.read_text() == "all"


@pytest.mark.anyio
async def test_its_async_half_does_the_same(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
        made = await AsyncDurableStream.create(
            url, content_type="application/json", body=[0], client=http
        )
        seen: list[int] = []
        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(made.append, 1)
                async with astream(url, offset=START, live="sse", client=http) as found:
                    async for value in found.iter_json():
                        seen.append(value)
                        if value == 1:
                            break
        assert seen == [0, 1]
        await made.delete()
        with pytest.raises(StreamNotFoundError):
            await made.head()
