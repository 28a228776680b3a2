"""A Janus manager without its process, and the room manager and mixer around it, on any etcd."""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from janusmanager.api import Janus
from janusmanager.controller import JanusController, Node
from janusmanager.housekeeping import Housekeeping
from janusmanager.plan import Self
from pkg import keys
from pkg.etcd.api import Delete, Etcd, Op, Put
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    JanusState,
    JanusStatus,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    RoomId,
    Slot,
)

J1, M1 = ModuleId("j1"), ModuleId("m1")
MASTER = b"m" * 32
NODE = Node(Self(J1, Endpoints(ws="ws://j1")), MASTER)
HERE = "127.0.0.1"


@asynccontextmanager
async def running(etcd: Etcd, janus: Janus) -> AsyncGenerator[JanusController]:
    """All loops of the manager but the heartbeat, ended with the block."""
    controller = JanusController(etcd, janus, NODE, random.Random(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(controller.follow_janus)
        tasks.start_soon(controller.assignments.informer.run)
        tasks.start_soon(controller.work)
        tasks.start_soon(Housekeeping(controller, J1).sweep_for_ever)
        yield controller
        tasks.cancel_scope.cancel()


@dataclass(frozen=True)
class Stage:
    """What others write into etcd about rooms of this manager."""

    etcd: Etcd

    async def start(self, room: str, *, slot: int = 0, mixer_port: int | None = None) -> Epoch:
        """As the room manager does; with a port, the mixer has answered already."""
        epoch = Epoch((await self.etcd.range("/onair/none/")).revision)
        live = livemeta(room, epoch, slot)
        await self.etcd.txn([], [_put_live(live), _put_slot(live)])
        if mixer_port is not None:
            await self.mix(room, mixer_port)
        return epoch

    async def rewrite(self, room: str, **changes: object) -> LiveMeta:
        live = (await self.live(room)).model_copy(update=changes)
        await self.etcd.txn([], [_put_live(live)])
        return live

    async def stop(self, room: str) -> None:
        await self.rewrite(room, status=Desired.STOPPING)

    async def mix(self, room: str, port: int) -> None:
        live = await self.live(room)
        state = MixerState(
            mixer_id=live.mixer_id,
            ip=HERE,
            port=port,
            status=MixerStatus.STARTING,
            epoch=live.mixer_epoch,
            endpoints=Endpoints(),
        )
        await self.etcd.txn([], [Put(keys.room(RoomId(room), "mixer"), state.encode())])

    async def lose(self, *all_keys: str) -> None:
        """Somebody deletes keys behind everybody's back."""
        await self.etcd.txn([], [Delete(key) for key in all_keys])

    async def break_key(self, key: str) -> None:
        await self.etcd.txn([], [Put(key, b"{")])

    # -- looking ---------------------------------------------------------------------------

    async def live(self, room: str) -> LiveMeta:
        kv = await self.etcd.get(keys.room(RoomId(room), "livemeta"))
        assert kv is not None
        return LiveMeta.decode(kv.value)

    async def state(self, room: str) -> JanusState | None:
        kv = await self.etcd.get(keys.room(RoomId(room), "janus"))
        return JanusState.decode(kv.value) if kv else None

    async def slots(self) -> dict[str, Epoch]:
        """room → epoch"""
        found = await self.etcd.range(keys.slots_prefix(Kind.JANUS, J1))
        slots = [Slot.decode(kv.value) for kv in found.kvs]
        return {slot.room_id: slot.epoch for slot in slots}

    async def revision(self) -> int:
        """Of the whole etcd: rises with every write."""
        return (await self.etcd.range("/onair/none/")).revision

    async def is_forwarding(self, room: str) -> bool:
        state = await self.state(room)
        live = await self.live(room)
        return (
            state is not None
            and state.status is JanusStatus.FORWARDING
            and (state.epoch, state.mixer_epoch) == (live.janus_epoch, live.mixer_epoch)
        )

    async def forwarding(self, *rooms: str, within: float = 5.0) -> None:
        """Wait until etcd says so of each."""
        with anyio.fail_after(within):
            for room in rooms:
                while not await self.is_forwarding(room):
                    await anyio.sleep(0.001)


async def eventually(holds: Callable[[], bool], *, within: float) -> None:
    with anyio.fail_after(within):
        while not holds():
            await anyio.sleep(0.01)


def livemeta(room: str, epoch: Epoch, slot: int = 0) -> LiveMeta:
    return LiveMeta(
        room_id=RoomId(room),
        status=Desired.ONAIR,
        janus_id=J1,
        janus_epoch=epoch,
        janus_slot=slot,
        mixer_id=M1,
        mixer_epoch=epoch,
        mixer_slot=slot,
        epoch=epoch,
        nonce="n",
        started_at="2026-01-01T00:00:00Z",
    )


def _put_live(live: LiveMeta) -> Op:
    return Put(keys.room(live.room_id, "livemeta"), live.encode())


def _put_slot(live: LiveMeta) -> Op:
    slot = Slot(room_id=live.room_id, epoch=live.janus_epoch)
    return Put(keys.slot(Kind.JANUS, J1, live.janus_slot), slot.encode())
