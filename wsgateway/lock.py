"""The Host key: one live connection per user and room, over all gateways.

Each verb is one guarded transaction, or a few when somebody else writes meanwhile; an answer that
was lost is never concluded from, the next verb reads what stands. ``presence`` calls them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from pkg.errors import TransientError
from pkg.etcd.api import KV, ConflictError, Delete, Etcd, Get, ModIs, Op, Put
from pkg.model import Host

TRIES = 5


@dataclass(slots=True, eq=False)
class Claim:
    """A connection's hold on its key. ``host``: what should stand there.

    ``revision`` of our last write there, as far as we know; 0: nothing of ours stands. It only
    rises, whoever holds the key: the fencing number of design.md. ``lost`` is called once another
    connection holds it.
    """

    key: str
    host: Host
    lost: Callable[[], None]
    revision: int = 0
    lease: int = 0
    written: Host | None = None
    taken: bool = False  # by ``take``; nothing else writes before
    over: bool = False  # to be freed
    doubted: bool = False  # look at what stands, though we changed nothing
    joined: bool = False  # it was told that the host came
    unsure: bool = False  # a write of ours may still be under way

    @property
    def is_written(self) -> bool:
        return self.written is self.host and not self.doubted

    def stands(self, revision: int, lease: int, host: Host) -> None:
        self.revision, self.lease, self.written, self.doubted = revision, lease, host, False


async def take(etcd: Etcd, claim: Claim, lease: int, may_replace: Callable[[KV], bool]) -> bool:
    """Write the key if nobody has it, or whoever has it may be replaced; answers whether.

    Raises TransientError; after AmbiguousError it may stand.
    """
    host, revision = claim.host, 0
    put = Put(claim.key, host.encode(), lease)
    for _ in range(TRIES):
        result = await etcd.txn([ModIs(claim.key, revision)], [put], [Get(claim.key)])
        if result.succeeded:
            claim.stands(result.revision, lease, host)
            claim.taken = True
            return True
        found = result.gets[0]
        if found is not None and not may_replace(found):
            return False
        revision = found.mod_revision if found else 0
    raise ConflictError(f"{claim.key} is fought over")


async def write(etcd: Etcd, claim: Claim, lease: int) -> bool:
    """Have ``claim.host`` stand, on ``lease``; put it anew if it is gone. False: another's."""
    host = claim.host
    return await _settle(etcd, claim, Put(claim.key, host.encode(), lease), (lease, host))


async def free(etcd: Etcd, claim: Claim) -> None:
    """Delete the key, if it is ours."""
    await _settle(etcd, claim, Delete(claim.key), None)


async def _settle(etcd: Etcd, claim: Claim, op: Op, then: tuple[int, Host] | None) -> bool:
    """Carry out ``op`` on our own key, or on none; False if another connection holds it."""
    for _ in range(TRIES):
        guard = ModIs(claim.key, claim.revision)
        result = await etcd.txn([guard], [op], [Get(claim.key)])
        if result.succeeded:
            if then is not None:
                claim.stands(result.revision, *then)
            return True
        found = result.gets[0]
        if found is not None and connection_of(found) != claim.host.connection:
            return False
        if found is None and then is None:
            return True
        claim.revision = found.mod_revision if found else 0
    raise TransientError(f"{claim.key} changes faster than it can be written")


def connection_of(kv: KV) -> str | None:
    """Whose it is; None if that cannot be read."""
    host = host_of(kv)
    return host.connection if host else None


def host_of(kv: KV) -> Host | None:
    try:
        return Host.decode(kv.value)
    except ValidationError:
        return None
