"""A reader that is gone, or takes all at once, costs nobody else his turn.

The web server's ``send`` to one who has gone returns at once, for ever: a loop that only sends
would hold up everybody (100 readers that left a stream of 200 MB: minutes).
"""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from pkg.httpserver import Message
from streams.app import live, reads
from streams.protocol import requests
from tests.support.streams_server import Server, server

pytestmark = pytest.mark.anyio

A = "/v1/stream/a"
TEXT = {"content-type": "text/plain"}
PIECES = 16
PIECE = live.MAX_EVENT


async def filled(found: Server) -> None:
    await found.http.put(A, headers=TEXT)
    for _ in range(PIECES):
        await found.http.post(A, headers=TEXT, content=b"x" * PIECE)


async def test_an_event_stream_ends_with_its_reader(tmp_path: Path) -> None:
    sent = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async with server(tmp_path) as found:
        await filled(found)
        request = requests.read("a", b"offset=-1&live=sse", {})
        await live.events(found.store, found.waiting, request, receive, send)
    assert len(sent) < PIECES


async def test_a_long_answer_lets_others_have_their_turn(tmp_path: Path) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async def send(_: Message) -> None:
        return

    async with server(tmp_path) as found:
        await filled(found)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_turns)
            await anyio.lowlevel.checkpoint()
            turns = 0
            await reads.catch_up(found.store, requests.read("a", b"offset=-1", {}), send)
            tasks.cancel_scope.cancel()
    assert turns >= PIECES
