"""What ends while a module is dead, and modules that are ill rather than dead (I7, I8, I14)."""

from collections.abc import Callable, Sequence

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Compare, Op, TxnResult, UnavailableError
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.model import Ended, Kind, LiveMeta, MixerState, MixerStatus, ModuleId
from roommanager.status import RoomStatus
from roommanager.verdict import Answer
from tests.support.stage import Stage, blue_on_m1, on_m2, stage
from tests.support.virtual import (
    BLUE,
    J1,
    J2,
    M1,
    M2,
    FakeProber,
    Modules,
    heartbeat,
    live_of,
    manager,
    observed,
    put,
    stored,
    until,
)

pytestmark = pytest.mark.anyio
KINDS = [(Kind.MIXER, M1), (Kind.JANUS, J1)]


def idle(on: Stage) -> Callable[[], bool]:
    return lambda: on.store.get(keys.room(BLUE, "livemeta")) is None


@pytest.mark.parametrize("managers", [1, 2])
@pytest.mark.parametrize(("kind", "module_id"), KINDS)
@pytest.mark.parametrize("verb", ["stop", "delete"])
async def test_an_end_does_not_wait_for_the_dead(
    verb: str, kind: Kind, module_id: ModuleId, managers: int
) -> None:
    async with stage({M1: 5}, {J1: 5}, managers) as on:
        await on.start(BLUE)
        on.modules.stuck.add(module_id)
        await getattr(on.one.wishes, verb)(BLUE)
        await anyio.sleep(60)
        assert not idle(on)(), "a living module is waited for"
        await on.loses(kind, module_id, Answer.REFUSED)
        await until(idle(on), within=1.3)
        left = [keys.room(BLUE, "meta")] if verb == "stop" else []
        assert stored(on.store, keys.room_prefix(BLUE)) == left
        assert on.slots(kind, module_id) == 0


async def test_an_end_waits_for_one_that_answers() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        await on.one.wishes.stop(BLUE)
        await anyio.sleep(600)
        assert on.status() is RoomStatus.STOPPING
        assert "mixer m1 to end its part (its lease is gone, but it answers" in await on.explain()


async def test_both_halves_dead_at_once() -> None:
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await on.loses(Kind.JANUS, J1, Answer.SILENT)
        await on.one.wishes.delete(BLUE)
        await until(lambda: stored(on.store, "/") == [], within=4)


async def test_both_halves_are_replaced_at_once() -> None:
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await on.modules.register(Kind.MIXER, M2, 5)
        await on.modules.register(Kind.JANUS, J2, 5)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await on.loses(Kind.JANUS, J1, Answer.REFUSED)
        await until(lambda: on_m2(on) and live_of(on.store).janus_id == J2, within=2)
        assert on.slots(Kind.MIXER, M1) == on.slots(Kind.JANUS, J1) == 0


async def beat(on: Stage, kind: Kind, module_id: ModuleId, trouble: str | None) -> None:
    await put(on.modules.etcd, keys.heartbeat(kind, module_id), heartbeat(5, trouble))


async def test_an_ill_mixer_is_left_after_five_seconds() -> None:
    async with blue_on_m1() as (on, before):
        await beat(on, Kind.MIXER, M1, "disk is gone")
        await anyio.sleep(4.9)
        assert live_of(on.store) == before
        await until(lambda: on_m2(on), within=1)
        assert live_of(on.store).moved == (
            "from mixer m1 to m2: it says it is unhealthy: disk is gone"
        )
        await until(lambda: on.slots(Kind.MIXER, M1) == 0)


async def test_a_mixer_that_is_well_again_in_time_keeps_its_room() -> None:
    async with blue_on_m1() as (on, before):
        for _ in range(4):
            await beat(on, Kind.MIXER, M1, "disk is gone")
            await anyio.sleep(4)
            await beat(on, Kind.MIXER, M1, None)
            await anyio.sleep(1)
        assert live_of(on.store) == before


async def test_a_busy_mixer_keeps_what_it_has() -> None:
    async with blue_on_m1() as (on, before):
        busy = heartbeat(5).model_copy(update={"status": "busy", "reason": "disk nearly full"})
        await put(on.modules.etcd, keys.heartbeat(Kind.MIXER, M1), busy)
        await anyio.sleep(100)
        assert live_of(on.store) == before


async def report_failing(on: Stage, live: LiveMeta, failures: int) -> None:
    state = observed(Kind.MIXER, live)
    assert isinstance(state, MixerState)
    failing = {"status": MixerStatus.FAILING, "failures": failures, "reason": "no codec"}
    await put(MemoryEtcd(on.store), keys.room(BLUE, "mixer"), state.model_copy(update=failing))


async def test_five_failures_on_one_host_are_enough() -> None:
    async with blue_on_m1() as (on, before):
        on.modules.stuck.add(M1)
        await report_failing(on, before, 4)
        await anyio.sleep(60)
        assert live_of(on.store) == before
        await report_failing(on, before, 5)
        await until(lambda: on_m2(on), within=1)
        assert "its FFmpeg failed 5 times (no codec)" in (live_of(on.store).moved or "")


@pytest.mark.parametrize("managers", [1, 2])
async def test_a_room_that_fails_everywhere_wanders_ever_more_slowly(managers: int) -> None:
    """However many room managers there are: each minds what the others did."""
    async with blue_on_m1(managers) as (on, _):
        on.modules.stuck |= {M1, M2}
        moves = []
        began = anyio.current_time()
        for _ in range(5):
            live = live_of(on.store)
            await report_failing(on, live, 5)
            await until(lambda was=live: live_of(on.store) != was, within=301)  # type: ignore[misc]
            moves.append(round(anyio.current_time() - began))
        assert moves == [0, 5, 15, 35, 75]


@pytest.mark.parametrize("managers", [1, 2])
async def test_who_left_the_dead_need_not_rest(managers: int) -> None:
    async with blue_on_m1(managers) as (on, _):
        await on.loses(Kind.MIXER, M1, Answer.SILENT)
        await until(lambda: on_m2(on))
        on.modules.stuck.add(M2)
        await on.modules.register(Kind.MIXER, M1, 5)
        left = live_of(on.store)
        await report_failing(on, left, 5)
        await until(lambda: live_of(on.store) != left, within=1)


async def test_a_failing_room_with_nowhere_to_go_stays() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        before = live_of(on.store)
        on.modules.stuck.add(M1)
        await report_failing(on, before, 5)
        await anyio.sleep(60)
        assert live_of(on.store) == before
        assert "cannot keep FFmpeg running (no codec)" in await on.explain()


@pytest.mark.parametrize(("kind", "other"), [(Kind.MIXER, M2), (Kind.JANUS, J2)])
async def test_a_half_without_a_place_moves_once(kind: Kind, other: ModuleId) -> None:
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await on.modules.register(kind, other, 5)
        on.one.controller.displace(BLUE, kind, "its place was lost, and all are taken")
        await until(lambda: live_of(on.store).module(kind) == other, within=1)
        await until(lambda: on.status() is RoomStatus.ONAIR)
        after = live_of(on.store)
        await anyio.sleep(60)
        assert live_of(on.store) == after


async def test_the_last_playlist_of_a_moved_room_counts_its_seams() -> None:
    async with blue_on_m1() as (on, _):
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on_m2(on))
        await on.one.wishes.stop(BLUE)
        await until(idle(on))
        kept = on.store.get(keys.ended(M2, BLUE))
        assert kept is not None
        assert Ended.decode(kept.value).seams == 1


async def test_an_epoch_that_nobody_heard_is_no_seam() -> None:
    async with stage({M1: 5}) as on:
        on.modules.stuck.add(M1)
        await on.one.wishes.create(BLUE, None, {})
        await on.one.wishes.start(BLUE)
        await on.modules.register(Kind.MIXER, M2, 5)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await until(lambda: on_m2(on))
        assert live_of(on.store).seams == 0


class Refusing(MemoryEtcd):
    """It can be read, and for a while takes no transaction."""

    refuses = False

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()
    ) -> TxnResult:
        if self.refuses:
            raise UnavailableError("no leader")
        return await super().txn(compares, then, otherwise)


async def test_after_an_outage_nobody_waits_for_a_backoff_that_it_brought_on() -> None:
    store = MemoryStore()
    modules, etcd = Modules(store), Refusing(store)
    await modules.register_all()
    async with manager(store, etcd=etcd) as one, anyio.create_task_group() as tasks:
        tasks.start_soon(modules.run)
        on = Stage(one, modules, FakeProber())
        await on.start(BLUE)
        await on.one.wishes.stop(BLUE)
        etcd.refuses = True
        await anyio.sleep(300)
        assert not idle(on)()
        etcd.refuses = False
        etcd.cut_watches()
        await until(idle(on), within=3.0)
        tasks.cancel_scope.cancel()
