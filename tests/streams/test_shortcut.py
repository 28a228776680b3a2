"""The short way past ASGI: whatever is sent, the answers and the stream are the app's own."""

import re
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.streams_server import Server, server

pytestmark = pytest.mark.anyio

TEXT = {"content-type": "text/plain"}
A = "/v1/stream/aa"
AT = "0000000000000000_00000000000000"
VOLATILE = re.compile(r"(date|etag|stream-cursor): ")
POST = b"POST /v1/stream/aa HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
LAST = b"GET /v1/stream/aa HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(body: bytes, more: bytes = b"", path: bytes = b"/v1/stream/aa") -> bytes:
    head = POST.replace(b"/v1/stream/aa", path) + more
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def get(query: str, name: str = "aa") -> bytes:
    return f"GET /v1/stream/{name}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def producer(seq: int, epoch: int = 0) -> bytes:
    return b"Producer-Id: p\r\nProducer-Epoch: %d\r\nProducer-Seq: %d\r\n" % (epoch, seq)


JSON = post(b"[1, 2]", path=b"/v1/stream/jj").replace(b"text/plain", b"application/json")
CLOSED = b"Stream-Closed: true\r\n"
POLL = "&live=long-poll"

# What comes in one piece, or in several.
SENT: dict[str, list[bytes]] = {
    "one append": [post(b"two")],
    "three one after another": [post(b"two"), post(b"three"), post(b"four")],
    "two in one piece": [post(b"two") + post(b"three")],
    "an append and a read in one piece": [post(b"two") + get("offset=-1")],
    "a read and an append in one piece": [get("offset=-1") + post(b"two")],
    "half a body, then the rest": [post(b"two")[:-1], b"o"],
    "byte by byte": [bytes([byte]) for byte in post(b"two")],
    "one and a half": [post(b"two") + post(b"three")[:-20], post(b"three")[-20:]],
    "garbage behind it": [post(b"two") + b"\x00garbage\r\n\r\n"],
    "both lengths": [POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    "two lengths": [POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\ntwo!"],
    "a length list": [POST + b"Content-Length: 3, 3\r\n\r\ntwo"],
    "bare line feeds": [post(b"two").replace(b"\r\n", b"\n")],
    "a folded header": [POST + b"X: a\r\n b\r\nContent-Length: 3\r\n\r\ntwo"],
    "a header of 40 KB": [post(b"two", b"X: " + b"x" * 40_000 + b"\r\n")],
    "a body of 60 KB": [post(b"x" * 60_000)],
    "a body of 100 KB": [post(b"x" * 100_000)],
    "chunks": [POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"],
    "expects 100": [post(b"two", b"Expect: 100-continue\r\n")],
    "wants to close": [post(b"two", b"Connection: close\r\n")],
    "HTTP/1.0": [post(b"two").replace(b"HTTP/1.1", b"HTTP/1.0")],
    "an absolute URL": [post(b"two", path=b"http://x/v1/stream/aa")],
    "an escaped path": [post(b"two", path=b"/v1/stream/%61a")],
    "a query": [post(b"two", path=b"/v1/stream/aa?x=/v1/stream/b#y")],
    "a fragment": [post(b"two", path=b"/v1/stream/aa#b")],
    "raw bytes in the path": [post(b"two", path=b"/v1/stream/\xff")],
    "no stream": [post(b"two", path=b"/v1/stream/none"), post(b"two")],
    "no path of a stream": [post(b"two", path=b"/other"), post(b"two", path=b"/v1/stream/")],
    "reserved": [post(b"two", path=b"/v1/stream/__ds/x")],
    "another content type": [post(b"two").replace(b"text/plain", b"text/html")],
    "no content type": [post(b"two").replace(b"Content-Type", b"X-Type")],
    "an empty body": [post(b"")],
    "closes": [
        post(b"two", b"Stream-Closed: true\r\n"),
        post(b"three"),
        get(f"offset={AT}07{POLL}"),
    ],
    "closes only": [post(b"", CLOSED), post(b"", CLOSED)],
    "a producer": [post(b"two", producer(0)), post(b"two", producer(0)), post(b"x", producer(2))],
    "a producer of old": [post(b"two", producer(0, 2)), post(b"two", producer(0, 1))],
    "half a producer": [post(b"two", b"Producer-Id: p\r\n")],
    "in order": [post(b"two", b"Stream-Seq: 2\r\n"), post(b"x", b"Stream-Seq: 10\r\n")],
    "JSON": [JSON, get(f"offset=-1{POLL}", "jj"), get(f"offset={AT}02{POLL}", "jj")],
    "no JSON": [JSON.replace(b"1, 2]", b"1, 2}")],
    "JSON from the middle": [JSON, get(f"offset={AT}01{POLL}", "jj")],
    "polls": [get(f"offset=-1{POLL}"), get(f"offset={AT}02{POLL}"), get(f"offset={AT}02{POLL}")],
    "a poll that ends": [get(f"offset={AT}04{POLL}"), post(b"two")],
    "a poll past the tail": [get(f"offset={AT}99{POLL}")],
    "polls that are wrong": [get("live=long-poll"), get(f"offset=x{POLL}"), get(f"offset={POLL}")],
    "a poll of nothing": [get(f"offset=-1{POLL}", "none")],
    "a poll and a read in one piece": [get(f"offset={AT}04{POLL}") + get("offset=-1")],
}


async def talk(found: Server, pieces: list[bytes], last: bytes) -> bytes:
    """What is answered. ``last`` is sent once there is an answer: never together with the rest."""
    host, port = found.http.base_url.host, found.http.base_url.port
    assert port is not None
    got = b""
    with anyio.fail_after(30):
        async with await anyio.connect_tcp(host, port) as stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):  # refused already
                for piece in pieces:
                    await stream.send(piece)
                while b"HTTP/1.1 " not in got:
                    got += await stream.receive()
                await stream.send(last)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    got += await stream.receive()
    return got


def said(got: bytes) -> list[str]:
    """Without what differs from run to run, and from one writer of headers to another."""
    lines = got.decode("latin-1").lower().splitlines()
    return sorted(line for line in lines if not VOLATILE.match(line))


async def outcomes(root: Path, *, shortcut: bool) -> dict[str, tuple[list[str], str]]:
    """For each case, on streams of its own: what was answered, and what the stream holds then."""
    found: dict[str, tuple[list[str], str]] = {}
    async with server(root, long_poll=0.2, shortcut=shortcut) as running:
        for number, (what, pieces) in enumerate(SENT.items()):
            here, json = f"/v1/stream/{number:02}", f"/v1/stream/{number + 50:02}"
            await running.http.put(here, headers=TEXT, content=b"one,")
            await running.http.put(json, headers={"content-type": "application/json"})
            moved = [
                piece.replace(b"/v1/stream/aa", here.encode()).replace(
                    b"/v1/stream/jj", json.encode()
                )
                for piece in [*pieces, LAST]
            ]
            got = await talk(running, moved[:-1], moved[-1])
            await running.store.settled()
            found[what] = said(got), (await running.http.get(here)).text
    return found


async def test_answers_are_the_same_as_the_app_gives(tmp_path: Path) -> None:
    expected = await outcomes(tmp_path / "app", shortcut=False)
    given = await outcomes(tmp_path / "short", shortcut=True)
    assert {what: one for what, one in given.items() if one != expected[what]} == {}
    assert len([one for one, _ in given.values() if "http/1.1 204 no content" in one]) > 15


async def polling(found: Server, count: int) -> None:
    with anyio.fail_after(30):
        while found.waiting.readers != count:
            await anyio.sleep(0.01)


async def poll(found: Server, answers: list[httpx.Response]) -> None:
    """From the end of what is there."""
    answers.append(await found.http.get(f"{A}?offset={AT}04{POLL}"))


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_poll_is_woken_by_an_append_of_any_size(tmp_path: Path, size: int) -> None:
    """What is long is answered by the app, from where the poll began."""
    answers: list[httpx.Response] = []
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT, content=b"one,")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll, found, answers)
            await polling(found, 1)
            await found.http.post(A, headers=TEXT, content=b"x" * size)
        assert (answers[0].status_code, len(answers[0].content)) == (200, size)
        assert found.waiting.readers == 0


async def test_a_caller_who_leaves_waits_no_more(tmp_path: Path) -> None:
    async with server(tmp_path, long_poll=600) as found:
        await found.http.put(A, headers=TEXT, content=b"one,")
        host, port = found.http.base_url.host, found.http.base_url.port or 0
        async with await anyio.connect_tcp(host, port) as stream:
            await stream.send(get(f"offset={AT}04{POLL}"))
            await polling(found, 1)
        await polling(found, 0)
        assert not found.waiting.leaving
        assert not found.store.look("aa").watchers


async def test_a_poll_of_a_deleted_stream_ends(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT, content=b"one,")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll, found, answers)
            await polling(found, 1)
            await found.http.delete(A)
    assert answers[0].status_code == 410
