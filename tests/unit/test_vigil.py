"""What the vigil concludes of modules, when, and how often it asks them."""

import anyio
import pytest

from pkg import keys
from pkg.etcd.api import Put
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.heartbeat import TTL_SECONDS
from pkg.model import Endpoints, Epoch, Kind, MixerState, MixerStatus, ModuleId, Slot
from roommanager.verdict import Answer, Fitness
from roommanager.vigil import CAREFUL_SECONDS
from tests.support.stage import Stage, stage
from tests.support.virtual import (
    BLUE,
    J1,
    J2,
    M1,
    M2,
    FakeProber,
    heartbeat,
    live_of,
    manager,
    observed,
    put,
    seen,
    until,
)

pytestmark = pytest.mark.anyio
M3 = ModuleId("m3")


def fitness(on: Stage, module_id: ModuleId, kind: Kind = Kind.MIXER) -> Fitness:
    return on.one.vigil.verdict(kind, module_id).fitness


async def test_only_modules_that_hold_rooms_are_asked() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        await on.modules.register(Kind.MIXER, M2, 5)
        await seen(on.one)
        await on.loses(Kind.MIXER, M2, Answer.REFUSED)
        await anyio.sleep(60)
        assert on.prober.asked[M2] == 0
        assert on.one.vigil.verdict(Kind.MIXER, M2).reason == "it has no lease and no room"


@pytest.mark.parametrize(("answer", "most"), [(Answer.ANSWERS, 61), (Answer.REFUSED, 22)])
async def test_it_is_asked_often_but_not_hotly(answer: Answer, most: int) -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        await on.loses(Kind.MIXER, M1, answer)
        await anyio.sleep(60)
        assert most - 3 <= on.prober.asked[M1] <= most


async def test_the_wellness_of_one_kind_is_nothing_to_the_other() -> None:
    """Two of three modules vanish, but one of each kind: no mass loss."""
    async with stage({M1: 5}, {J1: 5}) as on:
        await on.start(BLUE)
        await on.modules.register(Kind.JANUS, J2, 5)
        await seen(on.one)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await on.loses(Kind.JANUS, J1, Answer.REFUSED)
        await anyio.sleep(1)
        assert fitness(on, M1) is Fitness.DEAD
        assert not on.one.vigil.is_careful(Kind.MIXER)


async def test_losses_far_apart_are_no_mass_loss() -> None:
    async with stage({M1: 5, M2: 5}) as on:
        await on.start(BLUE)
        await put(on.modules.etcd, keys.slot(Kind.MIXER, M1, 4), Slot(room_id=BLUE, epoch=Epoch(1)))
        await put(on.modules.etcd, keys.slot(Kind.MIXER, M2, 4), Slot(room_id=BLUE, epoch=Epoch(1)))
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await anyio.sleep(TTL_SECONDS + 1)
        await on.loses(Kind.MIXER, M2, Answer.REFUSED)
        await anyio.sleep(1)
        assert fitness(on, M2) is Fitness.DEAD


async def test_a_mass_loss_is_remembered_for_a_while() -> None:
    async with stage({M1: 5, M2: 5}) as on:
        await seen(on.one)
        await on.loses(Kind.MIXER, M1, Answer.REFUSED)
        await on.loses(Kind.MIXER, M2, Answer.REFUSED)
        await until(lambda: on.one.vigil.is_careful(Kind.MIXER))
        await anyio.sleep(TTL_SECONDS + CAREFUL_SECONDS - 1)
        assert on.one.vigil.is_careful(Kind.MIXER)
        await anyio.sleep(2)
        assert not on.one.vigil.is_careful(Kind.MIXER)


async def test_each_loss_in_a_mass_of_them_begins_the_wait_anew() -> None:
    async with stage({M1: 5, M2: 5, M3: 5}) as on:
        await on.start(BLUE)
        holder = live_of(on.store).mixer_id
        first, second = (m for m in (M1, M2, M3) if m != holder)
        await on.loses(Kind.MIXER, first, Answer.REFUSED)
        await on.loses(Kind.MIXER, holder, Answer.REFUSED)
        await anyio.sleep(8)
        await on.loses(Kind.MIXER, second, Answer.REFUSED)
        await anyio.sleep(9)
        assert fitness(on, holder) is Fitness.UNSURE
        await anyio.sleep(2)
        assert fitness(on, holder) is Fitness.DEAD


async def test_what_was_asked_of_an_ill_one_says_nothing_once_it_is_gone() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        on.prober.answers[J1] = Answer.REFUSED
        ill = heartbeat(5, "Janus does not answer")
        await put(on.modules.etcd, keys.heartbeat(Kind.JANUS, J1), ill)
        await until(lambda: on.one.vigil.verdict(Kind.JANUS, J1).proven)
        told: list[Fitness] = []
        on.one.vigil.on_verdict(lambda _: told.append(fitness(on, J1, Kind.JANUS)))
        await on.loses(Kind.JANUS, J1, Answer.ANSWERS)
        await anyio.sleep(60)
        assert set(told) == {Fitness.UNSURE}


async def test_a_manager_that_comes_later_finds_what_is_dead() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        prober = FakeProber({M1: Answer.REFUSED})
        async with manager(on.store, seed=3, prober=prober) as late:
            verdict = late.vigil.verdict
            await until(lambda: verdict(Kind.MIXER, M1).fitness is Fitness.DEAD, within=1)


async def test_without_a_heartbeat_it_asks_where_the_room_says() -> None:
    class Curious(FakeProber):
        async def probe(self, kind: Kind, module_id: ModuleId, endpoints: Endpoints) -> Answer:
            asked.append(endpoints)
            return await super().probe(kind, module_id, endpoints)

    asked: list[Endpoints] = []
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        state = observed(Kind.MIXER, live_of(on.store))
        assert isinstance(state, MixerState)
        where = Endpoints(origin="http://m1", probe="http://m1/probe")
        on.modules.stuck.add(M1)
        told = state.model_copy(update={"endpoints": where, "status": MixerStatus.PUBLISHING})
        await put(on.modules.etcd, keys.room(BLUE, "mixer"), told)
        await on.loses(Kind.MIXER, M1, Answer.ANSWERS)
        async with manager(on.store, seed=3, prober=Curious()):
            await until(lambda: asked == [where], within=1)


async def test_a_broken_watch_and_a_new_list_are_as_good() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        on.prober.answers[M1] = Answer.REFUSED
        on.one.etcd.outage(down=True)
        await on.modules.die(Kind.MIXER, M1)
        await anyio.sleep(30)
        assert fitness(on, M1) is Fitness.WELL, "nobody told us"
        on.one.etcd.outage(down=False)
        await until(lambda: fitness(on, M1) is Fitness.DEAD, within=4)


async def test_an_unreadable_heartbeat_is_a_lease_all_the_same() -> None:
    async with stage({M1: 5}) as on:
        await on.start(BLUE)
        await MemoryEtcd(on.store).txn([], [Put(keys.heartbeat(Kind.MIXER, M1), b"{")])
        await anyio.sleep(60)
        assert fitness(on, M1) is Fitness.WELL
        await put(on.modules.etcd, keys.heartbeat(Kind.MIXER, M1), heartbeat(5, "no disk"))
        await until(lambda: fitness(on, M1) is Fitness.ILL, within=6)


@pytest.mark.parametrize("first", ["gone", "alive"])
@pytest.mark.parametrize(("gone", "alive", "mass"), [(2, 3, False), (2, 2, False), (3, 2, True)])
async def test_at_the_start_the_order_of_keys_says_nothing(
    gone: int, alive: int, mass: bool, first: str
) -> None:
    store = MemoryStore()
    etcd, prefixes = MemoryEtcd(store), ("a", "b") if first == "gone" else ("b", "a")
    lost = [ModuleId(f"{prefixes[0]}{n}") for n in range(gone)]
    for module_id in lost:
        place = keys.slot(Kind.MIXER, module_id, 0)
        await put(etcd, place, Slot(room_id=BLUE, epoch=Epoch(1)))
    for n in range(alive):
        await put(etcd, keys.heartbeat(Kind.MIXER, ModuleId(f"{prefixes[1]}{n}")), heartbeat(5))
    async with manager(store, prober=FakeProber(dict.fromkeys(lost, Answer.REFUSED))) as one:
        await anyio.sleep(1)
        found = {one.vigil.verdict(Kind.MIXER, module_id).fitness for module_id in lost}
        assert found == {Fitness.UNSURE if mass else Fitness.DEAD}
        assert one.vigil.is_careful(Kind.MIXER) is mass
