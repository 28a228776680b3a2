"""What a transaction did is told once, though etcd lost its answer."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import pytest

from pkg.errors import TransientError
from pkg.etcd.api import AmbiguousError, Compare, Op, TxnResult
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.events.records import RoomMoved
from pkg.model import Kind, Mark
from roommanager.verdict import Answer
from tests.support.heard import Heard
from tests.support.virtual import (
    BLUE,
    M1,
    M2,
    FakeProber,
    Manager,
    Modules,
    live_of,
    manager,
    mark,
    until,
)

pytestmark = pytest.mark.anyio


class Forgetful(MemoryEtcd):
    """Loses the answers to all transactions while ``forgets``. They are applied, unless it
    ``holds`` them: then they are in ``held``. ``leaves``: it is away with the answer."""

    forgets = False
    holds = False
    leaves = False

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.held: list[tuple[Sequence[Compare], Sequence[Op]]] = []

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        if self.forgets and self.holds:
            self.held.append((compares, then))
            raise AmbiguousError("the answer was lost")
        result = await super().txn(compares, then, otherwise)
        if self.forgets and result.succeeded:
            self.outage(down=self.leaves)
            raise AmbiguousError("the answer was lost")
        return result


@dataclass
class Stage:
    """A room manager with a forgetful client of etcd, and perhaps another."""

    one: Manager
    etcd: Forgetful
    modules: Modules
    prober: FakeProber
    heard: Heard

    async def tells(self, *types: str) -> None:
        """These, and after a while no more."""
        await until(lambda: len(self.heard.types) >= len(types), within=90)
        await anyio.sleep(60)
        assert self.heard.types == [*types]


@asynccontextmanager
async def stage(*, control: bool = True) -> AsyncGenerator[Stage]:
    store, prober, heard = MemoryStore(), FakeProber(), Heard()
    modules, etcd = Modules(store), Forgetful(store)
    await modules.register_all()
    async with (
        manager(store, etcd=etcd, prober=prober, events=heard, control=control) as one,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(modules.run)
        yield Stage(one, etcd, modules, prober, heard)
        tasks.cancel_scope.cancel()


async def on_air(it: Stage) -> None:
    """And what was told until then is forgotten, too."""
    await it.one.wishes.create(BLUE, None, {})
    await it.one.wishes.start(BLUE)
    await until(lambda: "room.started" in it.heard.types)
    it.heard.events.clear()


async def test_create() -> None:
    async with stage() as it:
        it.etcd.forgets = True
        await it.one.wishes.create(BLUE, None, {})
        await it.tells("room.created")


async def test_start_and_on_air() -> None:
    async with stage() as it:
        await it.one.wishes.create(BLUE, None, {})
        it.etcd.forgets = True
        await it.one.wishes.start(BLUE)
        await it.tells("room.created", "room.assigned", "room.started")


async def test_a_move_from_a_dead_module() -> None:
    async with stage() as it:
        await on_air(it)
        await it.modules.register(Kind.MIXER, M2, 20)
        it.prober.answers[M1] = Answer.REFUSED
        it.etcd.forgets = True
        await it.modules.die(Kind.MIXER, M1)
        await it.tells("room.moved")


async def test_a_move_from_a_draining_module() -> None:
    async with stage() as it:
        await on_air(it)
        await it.modules.register(Kind.MIXER, M2, 20)
        await mark(it.modules.etcd, Kind.MIXER, M1, Mark.DRAINING)
        it.etcd.forgets = True
        await it.tells("room.moved")
        (moved,) = it.heard.events
        assert isinstance(moved, RoomMoved)
        assert (moved.old, moved.new, moved.epoch) == (M1, M2, live_of(it.modules.store).epoch)


async def test_stop() -> None:
    async with stage() as it:
        await on_air(it)
        it.etcd.forgets = True
        await it.one.wishes.stop(BLUE)
        await it.tells("room.stopping", "room.stopped")


async def test_delete() -> None:
    async with stage() as it:
        await on_air(it)
        it.etcd.forgets = True
        await it.one.wishes.delete(BLUE)
        await it.tells("room.removing", "room.deleted")


async def test_delete_of_an_idle_room() -> None:
    async with stage() as it:
        await it.one.wishes.create(BLUE, None, {})
        it.etcd.forgets = True
        await it.one.wishes.delete(BLUE)
        await it.tells("room.created", "room.deleted")


async def test_etcd_goes_away_with_the_answer() -> None:
    """Nothing can be read back for a minute; then another manager has gone on."""
    async with (
        stage(control=False) as it,
        manager(it.modules.store, seed=2, events=it.heard) as other,
    ):
        await it.one.wishes.create(BLUE, None, {})
        it.etcd.forgets = it.etcd.leaves = True
        with suppress(TransientError):
            await it.one.wishes.start(BLUE)
        await until(lambda: "room.started" in it.heard.types)
        await other.wishes.delete(BLUE)
        await until(lambda: "room.deleted" in it.heard.types)
        await anyio.sleep(30)
        it.etcd.forgets = False
        it.etcd.outage(down=False)
        await it.tells(
            *("room.created", "room.started", "room.removing", "room.deleted", "room.assigned")
        )


@pytest.mark.parametrize("verb", ["stop", "delete"])
async def test_two_managers_do_the_same_and_neither_gets_an_answer(verb: str) -> None:
    async with stage() as it:
        second = Forgetful(it.modules.store)
        async with manager(
            it.modules.store, seed=2, etcd=second, prober=it.prober, events=it.heard
        ) as other:
            await on_air(it)
            it.etcd.forgets = second.forgets = True
            async with anyio.create_task_group() as both:
                for wishes in (it.one.wishes, other.wishes):
                    both.start_soon(getattr(wishes, verb), BLUE)
            ends = {"stop": ("room.stopping", "room.stopped")}
            await it.tells(*ends.get(verb, ("room.removing", "room.deleted")))


async def test_what_was_not_done_is_not_told() -> None:
    async with stage() as it:
        await it.one.wishes.create(BLUE, None, {})
        it.etcd.forgets = it.etcd.holds = True
        with suppress(TransientError), anyio.move_on_after(5):
            await it.one.wishes.delete(BLUE)
        await it.tells("room.created")
        it.etcd.forgets = False
        await it.one.wishes.delete(BLUE)
        await it.tells("room.created", "room.deleted")


async def test_it_lands_after_it_was_looked_for() -> None:
    """A slow etcd may commit what it no longer answers."""
    async with stage() as it:
        await on_air(it)
        it.etcd.forgets = it.etcd.holds = True
        with suppress(TransientError), anyio.move_on_after(0.1):
            await it.one.wishes.stop(BLUE)
        await anyio.sleep(6)
        it.etcd.forgets = False
        assert (await MemoryEtcd(it.modules.store).txn(*it.etcd.held[0])).succeeded
        await it.tells("room.stopping", "room.stopped")
