"""A gateway without sockets: its hosts' keys in etcd, and what it does when a moderator speaks."""

from dataclasses import dataclass, field

import anyio

from pkg import keys
from pkg.etcd.api import Delete, Put
from pkg.etcd.memory import MemoryEtcd
from pkg.model import Host, HostStatus, Order, Revocation, RoomId

BLUE = RoomId("blue")


def host(user: str, at: str = "2026-01-01T00:00:00.000Z", **more: object) -> Host:
    found: dict[str, object] = {
        "room_id": BLUE,
        "user_id": user,
        "gateway_id": "g1",
        "connection": f"c-{user}",
        "token_id": "t",
        "connected_at": at,
        "status": HostStatus.LIVE,
        **more,
    }
    return Host.model_validate(found)


async def put(etcd: MemoryEtcd, found: Host) -> None:
    await etcd.txn([], [Put(keys.host(found.room_id, found.user_id), found.encode())])


@dataclass
class Gateway:
    """Obeys at once. ``own_mute``: these muted themselves, and are only asked to unmute."""

    etcd: MemoryEtcd
    own_mute: set[str] = field(default_factory=set)
    orders: list[Order] = field(default_factory=list)

    async def run(self) -> None:
        async with self.etcd.watch("/onair/", since=None) as batches:
            async for batch in batches:
                for key, kv in batch.changes:
                    if kv is not None and key.startswith(keys.ORDERS):
                        await self._ordered(key, Order.decode(kv.value))
                    if kv is not None and key.startswith(keys.REVOKED_USERS):
                        await self._revoked(key, Revocation.decode(kv.value))

    async def _ordered(self, key: str, order: Order) -> None:
        self.orders.append(order)
        found = keys.parse_user(key)
        assert found is not None
        kv = await self.etcd.get(keys.host(*found))
        assert kv is not None
        there = Host.decode(kv.value)
        await anyio.sleep(0.01)
        if there.connection == order.connection and (order.muted or found[1] not in self.own_mute):
            await put(self.etcd, there.model_copy(update={"muted": order.muted}))

    async def _revoked(self, key: str, _: Revocation) -> None:
        found = keys.parse_user(key)
        assert found is not None
        await anyio.sleep(0.01)
        await self.etcd.txn([], [Delete(keys.host(*found))])
