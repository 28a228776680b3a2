"""From start to forwarding, beside the raw chain: one room after the other, turn and turn about.

A room counts as forwarding when our own watch on etcd sees its key ``janus`` say so: as an
independent observer would. Each turn measures one room and one raw chain, in changing order, so
that whatever else the machine does falls on both.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import anyio
from pydantic import ValidationError

from bench import http, records
from bench.raw import RawChain, raw_janus
from bench.stack import Stack
from pkg import keys
from pkg.etcd.api import KV, Etcd, Put, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.lifecycle import background
from pkg.model import JanusState, JanusStatus, Kind, ModuleId, RoomId

ROOM_SECONDS = 15.0
WARM_UP = 2  # turns that do not count: caches, connections, first imports
STEPS = ("livemeta", "mixer", "janus")


@dataclass(slots=True)
class Watched:
    """When each key of a room was first seen (``perf_counter``); ``gone``: its meta is deleted."""

    seen: dict[str, float] = field(default_factory=dict)
    forwarding: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)


class Observer:
    """One watch on every room, as somebody outside would have it."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._rooms: dict[RoomId, Watched] = {}
        self.ready = anyio.Event()

    def expect(self, room_id: RoomId) -> Watched:
        self._rooms[room_id] = Watched()
        return self._rooms[room_id]

    async def run(self) -> None:
        revision = (await self._etcd.range(keys.ROOMS, limit=1)).revision
        async with self._etcd.watch(keys.ROOMS, since=revision + 1) as batches:
            self.ready.set()
            async for batch in batches:
                for key, kv in batch.changes:
                    self._note(key, kv)

    def _note(self, key: str, kv: KV | None) -> None:
        parsed = keys.parse_room(key)
        watched = self._rooms.get(parsed[0]) if parsed else None
        if parsed is None or watched is None:
            return
        leaf = parsed[1]
        if kv is None:
            if leaf == "meta":
                watched.gone.set()
            return
        if leaf == "janus" and not _is_forwarding(kv):
            return
        watched.seen.setdefault(leaf, perf_counter())
        if leaf == "janus":
            watched.forwarding.set()


def _is_forwarding(kv: KV) -> bool:
    try:
        return JanusState.decode(kv.value).status is JanusStatus.FORWARDING
    except ValidationError:
        return False


@dataclass(slots=True)
class Latencies:
    """Seconds; ``steps``: from the start's sending until the observer saw each key."""

    onair: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})


async def measure(stack: Stack, rooms: int, told: Callable[[], None]) -> Latencies:
    """``told`` is called after each turn. Raises TimeoutError if a room does not come on air."""
    found = Latencies()
    async with _tools(stack) as (etcd, observer, connection, raw):
        modules = await _raw_modules(etcd)
        for turn in range(WARM_UP + rooms):
            kept = found if turn >= WARM_UP else Latencies()
            chain = await _raw_chain(etcd, turn, modules)

            async def ours(turn: int = turn, kept: Latencies = kept) -> None:
                await _one_room(observer, connection, RoomId(f"bench-{turn}"), kept)

            async def limit(
                turn: int = turn, kept: Latencies = kept, chain: records.Chain = chain
            ) -> None:
                kept.raw.append(await raw.run(raw.prepare(turn, chain)))

            for run in (ours, limit) if turn % 2 else (limit, ours):
                await run()
            told()
    return found


@asynccontextmanager
async def _tools(
    stack: Stack,
) -> AsyncGenerator[tuple[Etcd, Observer, http.Connection, RawChain]]:
    site = stack.site
    url = [site.etcd_url]
    etcd = EtcdClient(EtcdOptions(url))
    apart = EtcdClient(EtcdOptions(url, namespace="raw"))  # Onair must not see the raw chain's keys
    observer = Observer(etcd)
    try:
        async with (
            background(observer.run, ready=observer.ready.wait),
            http.connected(site.api_url, stack.api_key) as connection,
            raw_janus(site) as janus,
        ):
            yield apart, observer, connection, RawChain(apart, janus, stack.scratch)
    finally:
        await apart.aclose()
        await etcd.aclose()


async def _one_room(
    observer: Observer, connection: http.Connection, room_id: RoomId, kept: Latencies
) -> None:
    """Create, start (measured), delete, and wait until nothing of it is left."""
    watched = observer.expect(room_id)
    await connection.must("POST", "/api/rooms", f'{{"roomId": "{room_id}"}}')
    await anyio.sleep(0.01)  # a room is seldom started within a millisecond of its making
    began = perf_counter()
    with anyio.fail_after(ROOM_SECONDS):
        await connection.must("POST", f"/api/rooms/{room_id}/start")
        await watched.forwarding.wait()
    kept.onair.append(watched.seen["janus"] - began)
    for step in STEPS:
        kept.steps[step].append(watched.seen[step] - began)
    with anyio.fail_after(ROOM_SECONDS):
        await connection.must("DELETE", f"/api/rooms/{room_id}")
        await watched.gone.wait()


async def _raw_modules(etcd: Etcd) -> dict[Kind, tuple[ModuleId, int]]:
    found = {}
    for kind in Kind:
        module_id = ModuleId(f"{kind.value}-raw")
        found[kind] = (
            module_id,
            await commit(etcd, [], [records.heartbeat(kind, module_id, 100)]),
        )
    return found


async def _raw_chain(
    etcd: Etcd, turn: int, modules: dict[Kind, tuple[ModuleId, int]]
) -> records.Chain:
    meta: Put = records.meta(RoomId(f"raw-{turn}"))
    revision = await commit(etcd, [], [meta])
    return records.chain((RoomId(f"raw-{turn}"), revision), modules, turn % 100)
