"""Any wishes at two room managers, in any order, with faults: what must hold (I2, I3, I14)."""

import random
from collections import Counter

import anyio
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg import keys
from pkg.errors import OnairError
from pkg.etcd.memory import MemoryStore
from pkg.model import Desired, Epoch, Kind, LiveMeta, RoomId, Slot
from tests.support.virtual import J1, M1, M2, Manager, Modules, manager, stored

ROOMS = [RoomId(r) for r in ("a", "ab", "b")]
CAPACITY = 1  # of each mixer: three rooms for two places
steps = st.one_of(
    st.tuples(st.sampled_from(["create", "start", "start", "stop", "delete"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["lose", "cut", "down", "up", "rest", "compact"]), st.just(0)),
)
plans = st.lists(st.tuples(steps, st.integers(0, 1)), min_size=5, max_size=25)


class Watcher:
    """Looks at every revision etcd goes through."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.epochs: dict[RoomId, Epoch] = {}
        self.violations: list[str] = []

    def look(self) -> None:
        per_module: Counter[str] = Counter()
        for kv in self.store.under(keys.MODULES):
            parsed = keys.parse_module(kv.key)
            if parsed and parsed[2].startswith("slots/"):
                per_module[f"{parsed[0]}/{parsed[1]}"] += 1
                Slot.decode(kv.value)
        if any(per_module[f"mixer/{m}"] > CAPACITY for m in (M1, M2)):
            self.violations.append(f"over capacity: {per_module}")
        for room_id in ROOMS:
            self._look_at(room_id)

    def _look_at(self, room_id: RoomId) -> None:
        kv = self.store.get(keys.room(room_id, "livemeta"))
        if kv is None:
            return
        live = LiveMeta.decode(kv.value)
        if live.epoch < self.epochs.get(room_id, Epoch(0)):
            self.violations.append(f"{room_id} went back to epoch {live.epoch}")
        self.epochs[room_id] = live.epoch
        if self.store.get(keys.room(room_id, "meta")) is None:
            self.violations.append(f"{room_id} is wished for and does not exist")

    async def run(self) -> None:
        while True:
            changed = self.store.changed
            self.look()
            await changed.wait()


@settings(max_examples=30, deadline=None)
@given(plans, st.integers(0, 99))
def test_any_wishes_in_any_order(plan: list[tuple[tuple[str, int], int]], seed: int) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(_any_wishes, plan, seed, clock=clock)


async def _any_wishes(plan: list[tuple[tuple[str, int], int]], seed: int) -> None:
    store, rng = MemoryStore(), random.Random(seed)
    modules, watcher = Modules(store, slow_seconds=0.05), Watcher(store)
    await modules.register(Kind.JANUS, J1, 9)
    for mixer in (M1, M2):
        await modules.register(Kind.MIXER, mixer, CAPACITY)
    async with manager(store) as one, manager(store, seed=2) as two:
        managers = (one, two)
        async with anyio.create_task_group() as background:
            background.start_soon(modules.run)
            background.start_soon(watcher.run)
            async with anyio.create_task_group() as calls:
                for (word, room), who in plan:
                    _step(calls, managers[who], word, ROOMS[room])
                    await anyio.sleep(rng.choice([0.0, 0.001, 0.1, 2.0]))
                for each in managers:
                    each.etcd.outage(down=False)
            await anyio.sleep(100)
            watcher.look()
            _settled(store)
            revision = store.revision
            await anyio.sleep(300)
            assert store.revision == revision, "once converged, nothing is written"
            background.cancel_scope.cancel()
    assert watcher.violations == []


def _step(calls: anyio.abc.TaskGroup, one: Manager, word: str, room_id: RoomId) -> None:
    match word:
        case "lose":
            one.etcd.lose_answers(1)
        case "cut":
            one.etcd.cut_watches()
        case "down" | "up":
            one.etcd.outage(down=word == "down")
        case "compact":
            one.etcd.store.compact()
        case "rest":
            pass
        case _:
            calls.start_soon(_ask, one, word, room_id)


async def _ask(one: Manager, word: str, room_id: RoomId) -> None:
    wishes = one.wishes
    try:
        if word == "create":
            await wishes.create(room_id, None, {})
        else:
            await getattr(wishes, word)(room_id)
    except OnairError:
        return


def _settled(store: MemoryStore) -> None:
    """Every room is idle or on air, and every slot and report belongs to one on air."""
    expected = set()
    for room_id in ROOMS:
        kv = store.get(keys.room(room_id, "livemeta"))
        if kv is None:
            continue
        live = LiveMeta.decode(kv.value)
        assert live.status is Desired.ONAIR
        assert live.on_air_at is not None
        expected |= {keys.room(room_id, leaf) for leaf in ("livemeta", "janus", "mixer")}
        expected |= {keys.slot(k, live.module(k), live.slot(k)) for k in Kind}
    found = {k for k in stored(store, "/") if not k.endswith(("/heartbeat", "/meta"))}
    store.expire()
    assert {k for k in found if not k.startswith(keys.ENDED)} == expected
