"""What those who watch are told, in virtual time: a snapshot, then changes, few and in bounds."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.model import Epoch, Kind, ModuleId, RoomId, Slot
from roommanager.feed import KEEP_ALIVE, MAX_READERS
from tests.support.inprocess import InProcess, running
from tests.support.virtual import J1, heartbeat, until

pytestmark = pytest.mark.anyio
BLUE = RoomId("blue")


@dataclass
class Watcher:
    """Reads for as long as it runs. ``at``: when each event came."""

    stage: InProcess
    events: list[tuple[str, Any]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    comments: int = 0
    over: bool = False

    async def run(self) -> None:
        with self.stage.context.feed.reader() as reader:
            async for frame in self.stage.context.feed.frames(reader):
                if frame == KEEP_ALIVE:
                    self.comments += 1
                    continue
                for text in frame.decode().removesuffix("\n\n").split("\n\n"):
                    event, data = text.split("\n")
                    document = json.loads(data.removeprefix("data: "))
                    self.events.append((event.removeprefix("event: "), document))
                    self.at.append(anyio.current_time())
        self.over = True

    def named(self, name: str) -> list[Any]:
        return [data for event, data in self.events if event == name]


@asynccontextmanager
async def watched() -> AsyncGenerator[tuple[InProcess, Watcher]]:
    """Room ``blue`` is there, and somebody has got the snapshot."""
    async with running() as stage, anyio.create_task_group() as tasks:
        await create(stage, "blue")
        watcher = Watcher(stage)
        tasks.start_soon(watcher.run)
        await until(lambda: bool(watcher.events))
        yield stage, watcher
        tasks.cancel_scope.cancel()


async def create(stage: InProcess, room: str) -> None:
    (await stage.client.post("/api/rooms", json={"roomId": room})).raise_for_status()
    await stage.context.view.informer.reached(keys.ROOMS, stage.etcd.store.revision)


async def add_janus(stage: InProcess, reason: str | None = None) -> None:
    beat = heartbeat(3, reason)
    await stage.etcd.txn([], [Put(keys.heartbeat(Kind.JANUS, J1), beat.encode())])


async def test_first_a_snapshot_then_what_is_new() -> None:
    async with watched() as (stage, watcher):
        (name, first) = watcher.events[0]
        assert name == "snapshot"
        assert first == {
            **(await stage.client.get("/api/rooms")).json(),
            **(await stage.client.get("/api/modules")).json(),
        }
        await create(stage, "red")
        await until(lambda: bool(watcher.named("room")))
        assert watcher.named("room") == [(await stage.client.get("/api/rooms/red")).json()]
        await add_janus(stage)
        await until(lambda: bool(watcher.named("modules")))
        assert watcher.named("modules") == [(await stage.client.get("/api/modules")).json()]
        await stage.client.delete("/api/rooms/red")
        await until(lambda: bool(watcher.named("roomGone")))
        assert watcher.named("roomGone") == [{"roomId": "red"}]


async def test_many_changes_are_told_four_times_a_second_and_the_last_one_wins() -> None:
    async with watched() as (stage, watcher):
        key, kv = keys.room(BLUE, "meta"), await stage.etcd.get(keys.room(BLUE, "meta"))
        assert kv is not None
        meta = json.loads(kv.value)
        began = anyio.current_time()
        for number in range(300):
            value = json.dumps({**meta, "metadata": {"n": number}}).encode()
            await stage.etcd.txn([], [Put(key, value)])
            await anyio.sleep(0.01)
        await until(lambda: watcher.named("room")[-1]["metadata"] == {"n": 299})
        seconds = anyio.current_time() - began
        assert 4 <= len(watcher.named("room")) <= 4 * seconds + 2


async def test_nothing_is_told_twice_nor_what_no_reader_sees() -> None:
    async with watched() as (stage, watcher):
        kv = await stage.etcd.get(keys.room(BLUE, "meta"))
        assert kv is not None
        for _ in range(3):
            await stage.etcd.txn([], [Put(kv.key, kv.value)])
            await anyio.sleep(1)
        await stage.etcd.txn([], [Put("/onair/leader/x", b"{}"), Put("/elsewhere", b"")])
        await anyio.sleep(10)
        assert len(watcher.events) == 1


async def test_a_room_is_told_anew_when_its_janus_falls_ill() -> None:
    """No key of the room changes then, but its status may."""
    async with watched() as (stage, watcher):
        await add_janus(stage)
        slot = Slot(room_id=BLUE, epoch=Epoch(1))
        await stage.etcd.txn([], [Put(keys.slot(Kind.JANUS, J1, 0), slot.encode())])
        await until(lambda: len(watcher.named("modules")) > 0)
        noted = stage.context.feed
        with noted.reader() as reader:
            await add_janus(stage, "lost its Janus")
            await stage.context.view.informer.reached("/", stage.etcd.store.revision)
            assert reader.changed == {BLUE}


async def test_silence_is_broken_every_fifteen_seconds() -> None:
    async with watched() as (_, watcher):
        await anyio.sleep(61)
        assert watcher.comments == 4
        assert len(watcher.events) == 1


async def test_it_is_told_that_what_is_shown_may_be_old() -> None:
    async with watched() as (stage, watcher):
        stage.etcd.outage(down=True)
        await until(lambda: watcher.named("stale") == [{"stale": True}])
        stage.etcd.outage(down=False)
        await until(
            lambda: watcher.named("stale") == [{"stale": True}, {"stale": False}], within=30
        )


async def test_who_does_not_read_costs_one_frame_and_names() -> None:
    async with watched() as (stage, _):
        feed = stage.context.feed
        with feed.reader() as reader:
            frames = feed.frames(reader)
            await anext(frames)  # and no more
            for number in range(50):
                await create(stage, f"r{number % 5}") if number < 5 else await anyio.sleep(0.1)
                await stage.client.post("/api/rooms/r0/stop")
            assert reader.changed == {RoomId(f"r{n}") for n in range(5)}
            told = await anext(frames)
            assert told.count(b"event: room\n") == 5
            await frames.aclose()


async def test_what_cannot_be_read_is_passed_over() -> None:
    async with watched() as (stage, watcher):
        await stage.etcd.txn([], [Put(keys.room(RoomId("odd"), "meta"), b"{")])
        await create(stage, "red")
        await until(lambda: bool(watcher.named("room")))
        assert [room["roomId"] for room in watcher.named("room")] == ["red"]
        await stage.etcd.txn([], [Put(keys.heartbeat(Kind.MIXER, ModuleId("m9")), b"{")])
        await anyio.sleep(6)
        assert not watcher.over


async def test_all_end_with_the_room_manager() -> None:
    async with running() as stage, anyio.create_task_group() as tasks:
        watchers = [Watcher(stage) for _ in range(3)]
        async with stage.context.feed.running():
            for watcher in watchers:
                tasks.start_soon(watcher.run)
            await until(lambda: all(w.events for w in watchers))
        began = anyio.current_time()
        await until(lambda: all(w.over for w in watchers))
        assert anyio.current_time() - began < 0.5


async def test_too_many_are_sent_away_and_one_that_goes_makes_room() -> None:
    async with running() as stage:
        feed = stage.context.feed
        readers = [feed.reader() for _ in range(MAX_READERS)]
        for reader in readers:
            reader.__enter__()
        full = await stage.client.get("/api/live")
        assert (full.status_code, full.json()["code"]) == (503, "too-many-readers")
        assert full.headers["retry-after"] == "10"
        readers[0].__exit__(None, None, None)
        assert not feed.is_full


async def test_a_room_that_went_before_it_was_told_of_is_not_gone() -> None:
    async with watched() as (stage, watcher):
        for _ in range(3):
            await stage.etcd.txn([], [Put(keys.room(RoomId("brief"), "janus"), b"{}")])
            await stage.etcd.txn([], [Delete(keys.room(RoomId("brief"), "janus"))])
        await anyio.sleep(6)
        assert len(watcher.events) == 1
