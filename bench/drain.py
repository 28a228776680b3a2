"""A mixer with rooms on air is drained: what listeners lose, how long it takes, and whether the
other mixer is ever asked for more than it can carry.

Every room has a player. Three drains, back and forth between two mixers: with just enough places,
with too few until rooms end there, and one that is taken back half-way.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from bench.crowd import Crowd, CrowdError, Heard, Room, gathered
from bench.stack import Stack
from chaos.player import Moment, Player
from cli.drain import waits
from cli.site import Many
from pkg import keys
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import Kind, ModuleId

POLL_SECONDS = 0.1
DRAIN_SECONDS = 240.0
STILL_SECONDS = 15.0  # so long nothing moves: the drain waits, or was taken back
TOO_MANY = 2  # rooms for which there is no place in the second drain
CALM_SECONDS = 5.0
TWO_MIXERS = Many(mixers=2, room_managers=2)


@dataclass
class Places:
    """Of the new mixer, by every revision of etcd and by the processes there: the most at once."""

    capacity: int
    slots: int = 0
    highest: int = 0  # number of a place
    ffmpegs: int = 0

    @property
    def exceeded(self) -> bool:
        return max(self.slots, self.highest + 1, self.ffmpegs) > self.capacity


@dataclass(frozen=True, slots=True)
class Drained:
    """Seconds from the mark on: ``on_air`` until the last room, or the half after which it was
    taken back, was on air elsewhere; ``empty`` until the old mixer held no place (0: it was not
    to be emptied)."""

    name: str
    moved: int
    stayed: int
    on_air: float
    empty: float
    waited: str  # why the drain stood still, as `modules drain` says it
    said: str  # and as the room's explain does
    places: Places
    heard: Heard


@dataclass
class Drain:
    """One drain of ``old``, at work."""

    crowd: Crowd
    old: str
    new: str
    moment: Moment = field(default_factory=Player.now)  # what listeners lose counts from here
    on_air: float = 0.0
    empty: float = 0.0
    waited: str = ""
    said: str = ""

    @property
    def elapsed(self) -> float:
        return anyio.current_time() - self.moment.loop

    async def mark(self, mark: str) -> None:
        await self.crowd.must("PUT", f"/modules/mixer/{self.old}/mark", {"mark": mark})

    async def left(self) -> list[str]:
        """Rooms placed on the old mixer, or not on air on the new one yet."""
        found = await self.crowd.look()
        return [r for r in self.crowd.rooms if r not in found or not self._is_over(found[r])]

    def _is_over(self, room: Room) -> bool:
        return _mixer(room) == self.new and room["status"] == "onair"

    async def until_left(self, most: int) -> None:
        with anyio.fail_after(DRAIN_SECONDS):
            while len(await self.left()) > most:  # noqa: ASYNC110 - REST tells no event
                await anyio.sleep(POLL_SECONDS)
        self.on_air = self.elapsed

    async def until_done(self) -> None:
        await self.until_left(0)
        await self._until_empty()

    async def until_settled(self) -> None:
        """Who was on his way has come on air."""
        await anyio.sleep(CALM_SECONDS)
        await self.crowd.until_on_air(self.crowd.rooms)

    async def note_why(self) -> None:
        """Nothing moves: why? Raises CrowdError if as many as fit did not move."""
        left = await self.left()
        if len(left) != TOO_MANY:
            raise CrowdError(f"{len(left)} rooms are left, {TOO_MANY} have no place elsewhere")
        explained = await self.crowd.api.ask(f"/rooms/{left[0]}/explain")
        self.said = str(explained.body.get("reason")) if explained else "?"
        self.waited = waits(await self.crowd.api.modules(), "mixer", self.old) or "nothing"

    async def _until_empty(self) -> None:
        with anyio.fail_after(DRAIN_SECONDS):
            while (await self.crowd.module(self.old))["used"]:  # noqa: ASYNC110 - the same
                await anyio.sleep(POLL_SECONDS)
        self.empty = self.elapsed


async def measure(stack: Stack, rooms: int, told: Callable[[], None]) -> list[Drained]:
    """Each mixer has ``rooms`` places. Raises CrowdError, TimeoutError."""
    first, second = (stack.site.module_id("mixer", n) for n in stack.site.mixer_numbers)
    names = [f"drain-{n}" for n in range(rooms)]

    async def only_the_first(crowd: Crowd) -> None:
        await _disable(crowd, second)

    async with gathered(stack, names, rooms, only_the_first) as crowd:
        await crowd.must("PUT", f"/modules/mixer/{second}/mark", {"mark": "ready"})
        found = []
        for one in (
            _enough(crowd, first, second),
            _too_few(crowd, second, first),
            _taken_back(crowd, first, second),
        ):
            await anyio.sleep(CALM_SECONDS)
            found.append(await one)
            told()
        return found


async def _disable(crowd: Crowd, module_id: str) -> None:
    await crowd.must("PUT", f"/modules/mixer/{module_id}/mark", {"mark": "disabled"})


async def _enough(crowd: Crowd, old: str, new: str) -> Drained:
    async with _seen(crowd, new) as places:
        drain = Drain(crowd, old, new)
        await drain.mark("draining")
        await drain.until_done()
    await drain.mark("ready")
    return await _told("just enough places", drain, places)


async def _too_few(crowd: Crowd, old: str, new: str) -> Drained:
    others = [f"other-{n}" for n in range(TOO_MANY)]
    await _disable(crowd, old)
    await crowd.on_air(others)
    async with _seen(crowd, new) as places:
        drain = Drain(crowd, old, new)
        await drain.mark("draining")
        await drain.until_left(TOO_MANY)
        await anyio.sleep(STILL_SECONDS)
        await drain.note_why()
        for room in others:
            await crowd.must("DELETE", f"/rooms/{room}")
        await drain.until_done()
    await drain.mark("ready")
    return await _told(f"{TOO_MANY} too few, until rooms end", drain, places)


async def _taken_back(crowd: Crowd, old: str, new: str) -> Drained:
    async with _seen(crowd, new) as places:
        drain = Drain(crowd, old, new)
        await drain.mark("draining")
        await drain.until_left(len(crowd.rooms) // 2)
        await drain.mark("ready")
        await drain.until_settled()
        there = len(await drain.left())
        await anyio.sleep(STILL_SECONDS)
        if len(await drain.left()) != there:
            raise CrowdError("rooms went on moving after the drain was taken back")
    return await _told("taken back half-way", drain, places)


async def _told(name: str, drain: Drain, places: Places) -> Drained:
    left = await drain.left()
    return Drained(
        name=name,
        moved=len(drain.crowd.rooms) - len(left),
        stayed=len(left),
        on_air=drain.on_air,
        empty=drain.empty,
        waited=drain.waited,
        said=drain.said,
        places=places,
        heard=await drain.crowd.heard(drain.moment),
    )


def _mixer(room: Room) -> str | None:
    half: Mapping[str, str] = room.get("mixer") or {}
    return half.get("moduleId")


@asynccontextmanager
async def _seen(crowd: Crowd, module_id: str) -> AsyncGenerator[Places]:
    """Watches the module's places while the body runs."""
    places = Places((await crowd.module(module_id))["capacity"])
    etcd = EtcdClient(EtcdOptions(endpoints=(crowd.stack.site.etcd_url,)))
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_follow_slots, etcd, ModuleId(module_id), places)
            tasks.start_soon(_count_ffmpegs, crowd, module_id, places)
            yield places
            tasks.cancel_scope.cancel()
    finally:
        await etcd.aclose()


async def _follow_slots(
    etcd: EtcdClient,
    module_id: ModuleId,
    places: Places,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    prefix = keys.slots_prefix(Kind.MIXER, module_id)
    first = await etcd.range(prefix)
    held = {kv.key for kv in first.kvs}
    async with etcd.watch(prefix, since=first.revision + 1) as batches:
        task_status.started()
        async for batch in batches:
            held |= {key for key, kv in batch.changes if kv is not None}
            held -= {key for key, kv in batch.changes if kv is None}
            places.slots = max(places.slots, len(held))
            numbers = [int(key.removeprefix(prefix)) for key in held]
            places.highest = max([places.highest, *numbers])


async def _count_ffmpegs(crowd: Crowd, module_id: str, places: Places) -> None:
    """Those of the new mixer that run."""
    while True:
        running = sum(len(pids) for pids in crowd.ffmpegs({module_id}).values())
        places.ffmpegs = max(places.ffmpegs, running)
        await anyio.sleep(5 * POLL_SECONDS)
