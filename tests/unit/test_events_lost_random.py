"""Any wishes at two room managers, with lost answers: what etcd's history shows is told once."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator

import anyio
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg import keys
from pkg.etcd.api import KV, Batch
from pkg.etcd.memory import MemoryStore
from pkg.model import Desired, Kind, LiveMeta
from tests.support.heard import Heard
from tests.support.virtual import J1, M1, M2, Modules, manager
from tests.unit.test_wishes_random import ROOMS, _step

WORDS = ["create", "start", "start", "stop", "delete", "lose", "lose", "lose", "cut", "down", "up"]
steps = st.tuples(st.sampled_from(WORDS), st.integers(0, 2), st.integers(0, 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(steps, min_size=5, max_size=25), st.integers(0, 99))
def test_any_wishes_are_told_once(plan: list[tuple[str, int, int]], seed: int) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(_any_wishes, plan, seed, clock=clock)


async def _any_wishes(plan: list[tuple[str, int, int]], seed: int) -> None:
    store, rng, heard = MemoryStore(), random.Random(seed), Heard()
    modules = Modules(store, slow_seconds=0.05)
    for kind, module in ((Kind.JANUS, J1), (Kind.MIXER, M1), (Kind.MIXER, M2)):
        await modules.register(kind, module, 9)
    async with (
        manager(store, events=heard) as one,
        manager(store, seed=2, events=heard) as two,
        anyio.create_task_group() as background,
    ):
        background.start_soon(modules.run)
        async with anyio.create_task_group() as calls:
            for word, room, who in plan:
                _step(calls, (one, two)[who], word, ROOMS[room])
                await anyio.sleep(rng.choice([0.0, 0.001, 0.1, 2.0]))
            for each in (one, two):
                each.etcd.outage(down=False)
        await anyio.sleep(200)
        background.cancel_scope.cancel()
    told = Counter((event.room_id, event.type) for event in heard.events)
    assert told == Counter(deeds(store.since(1)))


def deeds(batches: Iterable[Batch]) -> Iterator[tuple[str, str]]:
    """(room, type of event) of each, as the records show it."""
    held: dict[str, KV | None] = {}
    for batch in batches:
        changed = dict(batch.changes)
        for room in ROOMS:
            meta, live = keys.room(room, "meta"), keys.room(room, "livemeta")
            if meta in changed and not (held.get(meta) and changed[meta]):
                yield room, "room.created" if changed[meta] else "room.deleted"
            if live in changed and changed.get(meta, held.get(meta)):
                yield from ((room, kind) for kind in of_life(held.get(live), changed[live]))
        held |= changed


def of_life(before: KV | None, after: KV | None) -> Iterator[str]:
    if after is None:
        yield "room.stopped"
        return
    now = LiveMeta.decode(after.value)
    if before is None:
        yield "room.assigned"
        return
    was = LiveMeta.decode(before.value)
    ends = {Desired.STOPPING: "room.stopping", Desired.REMOVING: "room.removing"}
    if now.status is not was.status:
        yield ends[now.status]
    if now.on_air_at != was.on_air_at:
        yield "room.started"
