"""A room's history over its whole life, with the stream server killed in the middle of it.

Issue 5, "shown by" 6: complete, in order, no duplicate; read through ``./onair rooms events``.
"""

import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from pkg import keys
from pkg.model import Leader, RoomId
from tests.support import stack as stacks
from tests.support.daemon import Daemon
from tests.support.stack import Stack, until
from tests.support.streams_process import running

pytestmark = [pytest.mark.anyio, pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg]
BLUE = RoomId("blue")
ONCE = (
    *("room.created", "room.assigned", "room.started", "room.moved", "room.stopping"),
    *("room.stopped", "room.deleted", "janus_room.created"),
)
TWICE = ("ffmpeg.started", "segment.listed", "forwarder.made")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def read(stack: Stack) -> list[Any]:
    """The room's events, as whoever asks the API gets them."""
    answer = await stack.http.get(f"/api/rooms/{BLUE}/events", params={"offset": "-1"})
    assert answer.status_code == 307
    found = await stack.public.get(answer.headers["Location"])
    return list(found.json()) if found.status_code == 200 else []


async def told(stack: Stack, *kinds: str) -> None:
    """Wait until all of these stand in the stream, as often as they are named."""
    missing = Counter(kinds)
    events: list[Any] = []

    async def stand() -> bool:
        with suppress(httpx.TransportError):
            events[:] = await read(stack)
        missing.clear()
        missing.update(Counter(kinds) - Counter(event["type"] for event in events))
        return not missing

    try:
        await until(stand)
    except TimeoutError:
        raise AssertionError(f"not told: {dict(missing)}; told: {events}") from None


def printed(stack: Stack, key_file: Path, *flags: str) -> str:
    """What ``./onair rooms events`` says."""
    argv = ["-m", "cli", "rooms", "events", BLUE, *flags]
    where = ["--api", stack.site.api_url(), "--key-file", str(key_file)]
    ended = subprocess.run(
        [sys.executable, *argv, *where],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    return ended.stdout.decode()


def before(events: list[Any], *kinds: str) -> None:
    """The first of each kind happened in this order."""
    first = {event["type"]: event["at"] for event in reversed(events)}
    stamps = [first[kind] for kind in kinds]
    assert stamps == sorted(stamps), dict(zip(kinds, stamps, strict=True))


async def test_a_rooms_life_is_told_whole_though_the_stream_server_dies(tmp_path: Path) -> None:
    with running(tmp_path / "streams", tmp_path / "streams.log") as streams:
        settings = {
            "ONAIR_EVENTS_URL": streams.streams,
            "ONAIR_EVENTS_DIR": str(tmp_path / "events"),
        }
        async with stacks.running(
            tmp_path, "", "/history", room_managers=2, mixers=2, etcds=1, settings=settings
        ) as stack:
            await stack.create(BLUE)
            await stack.start(BLUE)
            # what a machine had not sent when it was lost would be lost with it
            await told(stack, "room.started", "janus_room.created", *TWICE)
            streams.kill()
            first = await stack.mixer_of(BLUE)
            first.kill_host()
            await moved_on(stack, first.module_id)
            await stack.becomes(BLUE, "onair")
            # the elected one's death would end his watch on what is degraded (docs/events.md)
            follower = await not_elected(stack)
            follower.kill()
            follower.start()
            await until(lambda: is_ready(stack))
            streams.start()
            await told(stack, "segment.listed", "segment.listed", "room.recovered")
            await stack.call("POST", f"/rooms/{BLUE}/stop")
            await stack.becomes(BLUE, "idle")
            await stack.call("DELETE", f"/rooms/{BLUE}", 202)
            # each daemon sends when it has found that the server is back
            await told(stack, *ONCE, *TWICE, *TWICE, "room.degraded", "room.recovered")
            as_printed(stack, tmp_path / "key")
            unknown = await stack.http.get("/api/rooms/nobody/events")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "room-not-found")


def as_printed(stack: Stack, key_file: Path) -> None:
    key_file.write_text(stack.site.api_key)
    events = [json.loads(line) for line in printed(stack, key_file, "--json").splitlines()]
    judge(events)
    people = printed(stack, key_file)
    assert len(people.splitlines()) == len(events) + 1
    offset = people.split()[-1]
    assert printed(stack, key_file, "--json", "--from", offset) == ""


async def not_elected(stack: Stack) -> Daemon:
    found = await stack.etcd.get(keys.leader("housekeeping"))
    assert found is not None
    pid = Leader.decode(found.value).pid
    return next(manager for manager in stack.room_managers if manager.pid != pid)


async def moved_on(stack: Stack, mixer_id: str) -> None:
    async def elsewhere() -> bool:
        return (await stack.live(BLUE)).mixer_id != mixer_id

    await until(elsewhere)


async def is_ready(stack: Stack) -> bool:
    try:
        return (await stack.public.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


def judge(events: list[Any]) -> None:
    # (a machine with much to do may let the room starve, and be well, once more)
    marks = [(e["type"], e.get("epoch"), e.get("janus"), e.get("port"), e["at"]) for e in events]
    twice = [mark for mark, count in Counter(marks).items() if count > 1]
    assert not twice, f"told twice: {twice}"
    counted = Counter(event["type"] for event in events)
    assert {kind: counted[kind] for kind in ONCE} == dict.fromkeys(ONCE, 1)
    assert {kind: counted[kind] for kind in TWICE} == dict.fromkeys(TWICE, 2)
    for by in {event["by"] for event in events if not event["by"].startswith("room-manager/")}:
        stamps = [event["at"] for event in events if event["by"] == by]
        assert stamps == sorted(stamps), f"{by} is not told in order"
    events = sorted(events, key=lambda event: str(event["at"]))  # of one machine's clock here
    before(events, "room.created", "room.assigned", "room.started", "room.moved", "room.stopping")
    before(events, "room.assigned", "janus_room.created", "forwarder.made", "room.started")
    before(events, "room.assigned", "ffmpeg.started", "room.started")
    before(events, "room.stopping", "room.stopped", "room.deleted")
    before(events, "room.degraded", "room.recovered", "room.stopping")
