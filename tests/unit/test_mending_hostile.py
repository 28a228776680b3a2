"""A hand that writes and deletes at random, for a while: then all is in order, and nothing that
was on air was ended (I2, I5, I14)."""

import random
from contextlib import suppress

import anyio
import pytest

from pkg import keys
from pkg.errors import OnairError
from pkg.model import Desired, Epoch, Kind, LiveMeta, RoomId, Slot
from roommanager.housekeeping import SWEEP_SECONDS
from tests.support.keeping import House, house
from tests.support.virtual import J1, J2, M1, M2, live_of

pytestmark = pytest.mark.anyio
CAPACITY = 4
KEPT = [RoomId(f"kept-{n}") for n in range(4)]
CHURNED = [RoomId(f"churned-{n}") for n in range(3)]
MODULES = [(Kind.JANUS, J1), (Kind.JANUS, J2), (Kind.MIXER, M1), (Kind.MIXER, M2)]
STEPS = 60
SETTLE_SECONDS = 12 * SWEEP_SECONDS


class Hand:
    """It knows no rule but to leave rooms' wishes and modules' heartbeats alone."""

    def __init__(self, it: House, rng: random.Random) -> None:
        self._it = it
        self._rng = rng

    async def act(self) -> None:
        key, value = self._rng.choice([self._slot, self._slot, self._state, self._leader])()
        await self._it.write(key, value)

    def _slot(self) -> tuple[str, bytes | None]:
        kind, module_id = self._rng.choice(MODULES)
        key = keys.slot(kind, module_id, self._rng.randrange(CAPACITY))
        return key, self._rng.choice([None, None, b"{", self._claim(kind)])

    def _claim(self, kind: Kind) -> bytes:
        """Some room's right one perhaps, or one that never was."""
        room_id = self._rng.choice([*KEPT, *CHURNED, RoomId("nobody")])
        kv = self._it.store.get(keys.room(room_id, "livemeta"))
        right = kv is not None and self._rng.random() < 0.7
        epoch = LiveMeta.decode(kv.value).half_epoch(kind) if kv and right else Epoch(1)
        return Slot(room_id=room_id, epoch=epoch).encode()

    def _state(self) -> tuple[str, bytes | None]:
        room_id = self._rng.choice([*KEPT, *CHURNED, RoomId("nobody")])
        leaves: list[keys.RoomLeaf] = ["janus", "mixer"]
        return keys.room(room_id, self._rng.choice(leaves)), self._rng.choice([None, b"{", b"{}"])

    def _leader(self) -> tuple[str, bytes | None]:
        return keys.leader("housekeeping"), self._rng.choice([None, b"{"])


async def churn(it: House, rng: random.Random) -> None:
    """Users who start and stop other rooms meanwhile."""
    while True:
        await anyio.sleep(rng.uniform(0.0, 5.0))
        verb, room_id = rng.choice(["create", "start", "start", "stop"]), rng.choice(CHURNED)
        wishes = it.manager.wishes
        with suppress(OnairError), anyio.move_on_after(20):
            if verb == "create":
                await wishes.create(room_id, None, {})
            else:
                await getattr(wishes, verb)(room_id)


async def guard(it: House, before: dict[RoomId, LiveMeta]) -> None:
    """At any moment: what was on air is, with the same epochs, and no place is beyond capacity."""
    while True:
        for room_id, live in before.items():
            same = {"janus_slot": live.janus_slot, "mixer_slot": live.mixer_slot}
            assert live_of(it.store, room_id).model_copy(update=same) == live
        for kind, module_id in MODULES:
            numbers = [int(key.rpartition("/")[2]) for key in it.slots(kind, module_id)]
            assert all(number < CAPACITY for number in numbers)
        await anyio.sleep(0.5)


def verify(it: House) -> None:
    """Every place is a room's and every room's place is there; no report without its room."""
    on_air = [kv for kv in it.store.under(keys.ROOMS) if kv.key.endswith("/livemeta")]
    lives = [LiveMeta.decode(kv.value) for kv in on_air]
    assert {live.status for live in lives} == {Desired.ONAIR}
    for kind in Kind:
        assert all(it.has_place(kind, live.room_id) for live in lives)
        slots = [s for k, m in MODULES if k is kind for s in it.slots(k, m)]
        assert len(slots) == len(lives)
    states = [kv.key for kv in it.store.under(keys.ROOMS) if kv.key.endswith(("/janus", "/mixer"))]
    assert len(states) == 2 * len(lives)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_hand_does_all_is_in_order_soon(seed: int) -> None:
    rng = random.Random(seed)
    async with house(capacity=CAPACITY) as it:
        for kind, module_id in ((Kind.JANUS, J2), (Kind.MIXER, M2)):
            await it.modules.register(kind, module_id, CAPACITY)
        await it.on_air(*KEPT)
        before = {room_id: live_of(it.store, room_id) for room_id in KEPT}
        hand = Hand(it, rng)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guard, it, before)
            async with anyio.create_task_group() as users:
                users.start_soon(churn, it, rng)
                for _ in range(STEPS):
                    await hand.act()
                    await anyio.sleep(rng.choice([0.0, 0.002, 1.0, 20.0]))
                users.cancel_scope.cancel()
            await anyio.sleep(SETTLE_SECONDS)
            tasks.cancel_scope.cancel()
        verify(it)
        revision = it.store.revision
        await anyio.sleep(5 * SWEEP_SECONDS)
        assert it.store.revision == revision
