"""One leads, soon another if it is gone, never two at once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
import trio.testing
from anyio.abc import TaskGroup
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pkg import keys
from pkg.election import Election, Term
from pkg.etcd.api import KV, AccessError, ConflictError, Delete, Op, Put, commit
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.heartbeat import TTL_SECONDS
from pkg.model import Leader
from tests.support.virtual import until

pytestmark = pytest.mark.anyio
KEY = keys.leader("task")


@dataclass
class Bodies:
    """Who believes that he leads, and the terms that were."""

    running: list[str] = field(default_factory=list)
    terms: list[tuple[str, Term]] = field(default_factory=list)
    most: int = 0

    async def lead(self, name: str, term: Term) -> None:
        self.terms.append((name, term))
        self.running.append(name)
        self.most = max(self.most, len(self.running))
        try:
            await anyio.sleep_forever()
        finally:
            self.running.remove(name)


class Candidate:
    def __init__(self, name: str, store: MemoryStore, bodies: Bodies) -> None:
        self.name = name
        self.etcd = MemoryEtcd(store)
        self.bodies = bodies
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        me = Leader(instance_id=self.name, host="h", pid=1)
        with anyio.CancelScope() as self.scope:
            await Election(self.etcd, "task", me).run(self._body)

    async def _body(self, term: Term) -> None:
        await self.bodies.lead(self.name, term)

    def crash(self) -> None:
        """The process is gone: nothing it would still say reaches etcd."""
        self.etcd.outage(down=True)
        self.scope.cancel()


@dataclass
class Race:
    store: MemoryStore
    bodies: Bodies
    by_name: dict[str, Candidate]

    @property
    def leader(self) -> Candidate:
        return self.by_name[self.bodies.running[0]]

    @property
    def other(self) -> Candidate:
        return next(c for c in self.by_name.values() if c.name not in self.bodies.running)

    async def led_by(self, name: str, within: float) -> None:
        await until(lambda: self.bodies.running == [name], within=within)


@asynccontextmanager
async def race(*names: str) -> AsyncGenerator[Race]:
    store, bodies = MemoryStore(), Bodies()
    by_name = {name: Candidate(name, store, bodies) for name in names}
    async with anyio.create_task_group() as tasks:
        for candidate in by_name.values():
            tasks.start_soon(candidate.run)
        await until(lambda: len(bodies.running) == 1, within=1)
        yield Race(store, bodies, by_name)
        tasks.cancel_scope.cancel()


async def test_one_of_three_leads_for_as_long_as_it_lives() -> None:
    async with race("a", "b", "c") as it:
        first = it.leader.name
        await anyio.sleep(600)
        assert it.bodies.running == [first]
        assert len(it.bodies.terms) == 1
        kv = it.store.get(KEY)
        assert kv is not None
        assert Leader.decode(kv.value).instance_id == first


class CountingEtcd(MemoryEtcd):
    reads = 0

    async def get(self, key: str) -> KV | None:
        self.reads += 1
        return await super().get(key)


async def test_waiting_writes_nothing_and_hardly_reads() -> None:
    async with race("a") as it:
        waiting = Candidate("b", it.store, it.bodies)
        waiting.etcd = counting = CountingEtcd(it.store)
        writer = MemoryEtcd(it.store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting.run)
            for n in range(600):  # etcd's other news are none of this key
                await commit(writer, [], [Put(f"/k{n}", b"")])
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        assert counting.reads <= 12
        assert len(list(it.store.under("/"))) == 601


async def test_after_a_crash_another_leads_within_the_ttl() -> None:
    async with race("a", "b") as it:
        other = it.other.name
        it.leader.crash()
        await it.led_by(other, within=TTL_SECONDS + 0.1)


async def test_who_resigns_is_followed_at_once() -> None:
    async with race("a", "b") as it:
        other = it.other.name
        it.leader.scope.cancel()
        await it.led_by(other, within=0.1)


async def test_who_cannot_reach_etcd_lets_go_before_another_leads() -> None:
    async with race("a", "b") as it:
        first, other = it.leader, it.other.name
        first.etcd.outage(down=True)
        await it.led_by(other, within=TTL_SECONDS + 0.1)
        first.etcd.outage(down=False)
        await anyio.sleep(100)
        assert it.bodies.running == [other]
        assert it.bodies.most == 1


async def test_after_an_outage_of_etcd_somebody_leads_again_soon() -> None:
    async with race("a", "b") as it:
        for candidate in it.by_name.values():
            candidate.etcd.outage(down=True)
        await anyio.sleep(60)
        assert it.bodies.running == []
        for candidate in it.by_name.values():
            candidate.etcd.outage(down=False)
        await until(lambda: len(it.bodies.running) == 1, within=1)


async def test_one_that_was_frozen_beyond_its_term_can_do_nothing(
    anyio_backend: tuple[str, dict[str, trio.testing.MockClock]],
) -> None:
    """All its timers are due at once when it wakes; whatever comes first, etcd refuses it."""
    async with race("a") as it:
        frozen, term = it.leader.etcd, it.bodies.terms[0][1]
        anyio_backend[1]["clock"].jump(TTL_SECONDS + 5.0)
        with pytest.raises(ConflictError):
            await commit(frozen, [term.guard], [Put("/x", b"")])
        await until(lambda: len(it.bodies.terms) == 2, within=1)
        assert it.bodies.most == 1


async def test_the_guard_of_a_running_term_holds() -> None:
    async with race("a") as it:
        await commit(it.leader.etcd, [it.bodies.terms[0][1].guard], [Put("/x", b"")])
        assert it.store.get("/x") is not None


async def test_a_key_deleted_by_hand_ends_the_term_and_begins_another() -> None:
    async with race("a", "b") as it:
        await MemoryEtcd(it.store).txn([], [Delete(KEY)])
        await until(lambda: len(it.bodies.terms) == 2, within=1)
        await until(lambda: len(it.bodies.running) == 1, within=1)


def compacted(store: MemoryStore, *ops: Op) -> None:
    """These, and that etcd forgets about them, before any watch has told of them."""
    for op in (*ops, Put("/elsewhere", b"1"), Put("/elsewhere", b"2")):
        store.txn([], [op], [])
    store.compact()


async def test_a_compaction_hides_no_vacancy() -> None:
    """Neither from who led nor from who waits, and nobody waits for the next recheck."""
    async with race("a", "b") as it:
        compacted(it.store, Delete(KEY))
        await until(lambda: len(it.bodies.terms) == 2, within=1)
        await until(lambda: len(it.bodies.running) == 1, within=1)
        await anyio.sleep(100)
        assert (len(it.bodies.terms), it.bodies.most) == (2, 1)


async def test_a_compaction_alone_ends_no_term() -> None:
    async with race("a", "b") as it:
        first = it.leader.name
        for _ in range(20):
            compacted(it.store)
            await anyio.sleep(1)
        assert it.bodies.running == [first]
        assert len(it.bodies.terms) == 1


async def test_a_key_put_by_hand_does_not_keep_all_from_leading() -> None:
    async with race("a", "b") as it:
        await MemoryEtcd(it.store).txn([], [Put(KEY, b"me")])
        await until(lambda: len(it.bodies.terms) == 2, within=1)
        kv = it.store.get(KEY)
        assert kv is not None
        assert kv.lease


class LosesTheCampaignsAnswer(MemoryEtcd):
    async def grant(self, ttl: int) -> int:
        lease = await super().grant(ttl)
        self.lose_answers(1)
        return lease


async def test_a_lost_answer_wins_all_the_same() -> None:
    store, bodies = MemoryStore(), Bodies()
    candidate = Candidate("a", store, bodies)
    candidate.etcd = LosesTheCampaignsAnswer(store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(candidate.run)
        await until(lambda: bodies.running == ["a"], within=0.2)
        tasks.cancel_scope.cancel()


class RefusesAtTimes(MemoryEtcd):
    """A role that lacks a right, for a while."""

    refusing = False

    async def get(self, key: str) -> KV | None:
        self._maybe_refuse()
        return await super().get(key)

    async def grant(self, ttl: int) -> int:
        self._maybe_refuse()
        return await super().grant(ttl)

    async def keep_alive(self, lease: int) -> float:
        self._maybe_refuse()
        return await super().keep_alive(lease)

    def _maybe_refuse(self) -> None:
        if self.refusing:
            raise AccessError("permission denied")


@pytest.mark.parametrize("leading", [True, False])
async def test_a_right_that_is_taken_away_ends_a_term_and_no_process(*, leading: bool) -> None:
    store, bodies = MemoryStore(), Bodies()
    candidate = Candidate("a", store, bodies)
    candidate.etcd = etcd = RefusesAtTimes(store)
    etcd.refusing = not leading
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(candidate.run)
        if leading:
            await until(lambda: bodies.running == ["a"], within=1)
            etcd.refusing = True
            etcd.cut_watches()
        await anyio.sleep(30)
        assert bodies.running == []
        etcd.refusing = False
        await until(lambda: bodies.running == ["a"], within=10)
        tasks.cancel_scope.cancel()


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["away", "back", "cut", "lost answers", "restart"]),
        st.sampled_from([0.0, 0.5, 3.3, 9.9, 10.1, 25.0]),
    ),
    max_size=8,
)


@given(HAPPENINGS)
@settings(max_examples=60, deadline=None)
def test_never_two_and_in_the_end_one(happenings: list[tuple[str, str, float]]) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(_play, happenings, backend="trio", backend_options={"clock": clock})


async def _play(happenings: list[tuple[str, str, float]]) -> None:
    async with race("a", "b", "c") as it, anyio.create_task_group() as tasks:
        for name, what, seconds in happenings:
            _happen(it.by_name[name], what, tasks)
            await anyio.sleep(seconds)
        for candidate in it.by_name.values():
            candidate.etcd.outage(down=False)
        await until(lambda: len(it.bodies.running) == 1, within=2 * TTL_SECONDS)
        assert it.bodies.most == 1
        tasks.cancel_scope.cancel()


def _happen(candidate: Candidate, what: str, tasks: TaskGroup) -> None:
    match what:
        case "away":
            candidate.etcd.outage(down=True)
        case "back":
            candidate.etcd.outage(down=False)
        case "cut":
            candidate.etcd.cut_watches()
        case "lost answers":
            candidate.etcd.lose_answers(2)
        case _:
            candidate.scope.cancel()
            tasks.start_soon(candidate.run)


async def test_an_outage_of_etcd_is_logged_once_a_minute_and_when_it_is_over() -> None:
    candidate = Candidate("a", MemoryStore(), Bodies())
    candidate.etcd.outage(down=True)
    with capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(candidate.run)
            await anyio.sleep(170)
            candidate.etcd.outage(down=False)
            await until(lambda: candidate.bodies.running == ["a"])
            tasks.cancel_scope.cancel()
    said = [line["event"] for line in logs if line["event"].startswith("leader.campaign")]
    assert said == ["leader.campaign_failed"] * 3 + ["leader.campaign_recovered"]
