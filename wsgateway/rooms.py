"""What etcd says of the rooms we have hosts in, told to their connections.

A watched copy of those rooms' keys and hosts, and of all revocations and moderators' orders, which
are few. It concludes nothing while etcd is away: what is, stays.
"""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import structlog

from pkg import keys
from pkg.etcd.api import Etcd
from pkg.informer import Informer, UndecodableError
from pkg.model import Desired, Host, JanusState, LiveMeta, Order, Revocation, RoomId, RoomMeta
from pkg.secrets import host_pin, room_secret
from pkg.tokens import Grant, is_void
from wsgateway.exchange import Air, End, Ended, Event, Ordered, Place, RoomSeen
from wsgateway.lock import Claim
from wsgateway.presence import Presence

log = structlog.get_logger()

# So many rooms are listed at a time. A thousand at once would make every call late, the lease's
# renewal among them.
LISTED_AT_ONCE = 16


class Tenant(Protocol):
    """A connection, as its room sees it. ``tell`` never waits."""

    claim: Claim
    grant: Grant

    def tell(self, event: Event) -> None: ...


@dataclass(slots=True)
class _Room:
    prefixes: tuple[str, ...]
    tenants: dict[str, Tenant] = field(default_factory=dict)  # by user
    guests: int = 0  # who asked for it to be watched
    hosts: set[str] = field(default_factory=set)  # keys, ours and other gateways'
    seen: RoomSeen | None = None
    listed: anyio.Event = field(default_factory=anyio.Event)


class Rooms:
    def __init__(
        self, etcd: Etcd, presence: Presence, master: bytes, max_hosts: int, rng: random.Random
    ) -> None:
        self._presence = presence
        self._master = master
        self._max_hosts = max_hosts
        self._rooms: dict[RoomId, _Room] = {}
        self._waiting: deque[RoomId] = deque()  # to be listed
        self._listing: set[RoomId] = set()
        self._tokens: dict[str, Tenant] = {}
        self.informer = Informer(etcd, (keys.REVOKED, keys.ORDERS), rng)
        self.informer.on_change(self._notice)

    # -- coming and going ------------------------------------------------------------------

    def follow(self, room_id: RoomId) -> None:
        """Watch a room for a host who comes; pairs with ``unfollow``."""
        room = self._rooms.get(room_id)
        if room is None:
            prefixes = (keys.room_prefix(room_id), keys.hosts_prefix(room_id))
            room = self._rooms[room_id] = _Room(prefixes)
            self._waiting.append(room_id)
            self._list_more()
        room.guests += 1

    def unfollow(self, room_id: RoomId) -> None:
        room = self._rooms[room_id]
        room.guests -= 1
        if not room.guests:
            del self._rooms[room_id]
            for prefix in room.prefixes:
                self.informer.unfollow(prefix)
            self._listed(room_id)

    def _list_more(self) -> None:
        while self._waiting and len(self._listing) < LISTED_AT_ONCE:
            room_id = self._waiting.popleft()
            room = self._rooms.get(room_id)
            if room is not None and not self._is_listed(room):  # left, and entered anew meanwhile
                self._listing.add(room_id)
                for prefix in room.prefixes:
                    self.informer.follow(prefix)

    def _is_listed(self, room: _Room) -> bool:
        return all(map(self.informer.is_listed, room.prefixes))

    def _listed(self, room_id: RoomId) -> None:
        if room_id in self._listing:
            self._listing.discard(room_id)
            self._list_more()

    async def settled(self, claim: Claim) -> None:
        """Wait until the copy of the room is there, and shows the claim or what came after it."""
        await self._rooms[claim.host.room_id].listed.wait()
        await self.informer.reached(claim.key, claim.revision)

    def attach(self, tenant: Tenant) -> None:
        """Tell it what is, and from now on what changes."""
        room = self._rooms[tenant.grant.room_id]
        room.tenants[tenant.grant.user] = tenant
        self._tokens[tenant.grant.token_id] = tenant
        tenant.tell(room.seen or RoomSeen(Air.COMING))
        self._revoke(tenant)
        self._order(tenant)
        self._compare(tenant)

    def detach(self, tenant: Tenant) -> None:
        room = self._rooms[tenant.grant.room_id]
        if room.tenants.get(tenant.grant.user) is tenant:
            del room.tenants[tenant.grant.user]
        if self._tokens.get(tenant.grant.token_id) is tenant:
            del self._tokens[tenant.grant.token_id]

    def janus_of(self, room_id: RoomId) -> str | None:
        """The URL of the Janus that a room is at, as far as we know it."""
        room = self._rooms.get(room_id)
        return room.seen.place.url if room and room.seen and room.seen.place else None

    # -- answers ---------------------------------------------------------------------------

    def is_void(self, grant: Grant) -> bool:
        """What cannot be read revokes: the reader of a revocation must not be lenient."""
        try:
            return is_void(grant, self._revoked_token(grant), self._revoked_user(grant))
        except UndecodableError as error:
            log.error("revocation.undecodable", error=str(error))
            return True

    def is_full(self, claim: Claim) -> bool:
        """Are as many hosts as the room takes there before this one?"""
        room, room_id = self._rooms[claim.host.room_id], claim.host.room_id
        most = self._most(room_id)
        if len(room.hosts) <= most:
            return False
        mine = self.informer.get(claim.key)
        if mine is None:
            return False
        found = (self.informer.get(key) for key in room.hosts)
        earlier = sum(kv.create_revision < mine.create_revision for kv in found if kv)
        return earlier >= most

    def _most(self, room_id: RoomId) -> int:
        try:
            meta = self.informer.record(keys.room(room_id, "meta"), RoomMeta)
        except UndecodableError:
            return self._max_hosts
        return (meta and meta.max_participants) or self._max_hosts

    def _revoked_token(self, grant: Grant) -> Revocation | None:
        return self.informer.record(keys.revoked_token(grant.token_id), Revocation)

    def _revoked_user(self, grant: Grant) -> Revocation | None:
        return self.informer.record(keys.revoked_user(grant.room_id, grant.user), Revocation)

    # -- news ------------------------------------------------------------------------------

    def _notice(self, key: str) -> None:
        if key.startswith(keys.REVOKED):
            self._notice_revocation(key)
        elif key.startswith(keys.ORDERS):
            self._notice_order(key)
        elif key.startswith(keys.ROOMS):
            self._look(RoomId(key.removeprefix(keys.ROOMS).partition("/")[0]))
        elif key.endswith("/"):
            self._look(RoomId(key.rstrip("/").rpartition("/")[2]))
        else:
            self._notice_host(key)

    def _notice_revocation(self, key: str) -> None:
        jti = key.removeprefix(keys.REVOKED_TOKENS)
        tenant = self._tenant(key) or self._tokens.get(jti)
        if tenant is not None:
            self._revoke(tenant)

    def _revoke(self, tenant: Tenant) -> None:
        if not self.is_void(tenant.grant):
            return
        try:
            found = self._revoked_user(tenant.grant)
        except UndecodableError:
            found = None
        kicked = found is not None and found.kicked and is_void(tenant.grant, None, found)
        tenant.tell(Ended(End.KICKED if kicked else End.REVOKED))

    def _notice_order(self, key: str) -> None:
        tenant = self._tenant(key)
        if tenant is not None:
            self._order(tenant)

    def _tenant(self, key: str) -> Tenant | None:
        """Whom a key of a user is about, if he is ours."""
        named = keys.parse_user(key)
        room = self._rooms.get(named[0]) if named else None
        return room.tenants.get(named[1]) if named and room else None

    def _notice_host(self, key: str) -> None:
        named = keys.parse_user(key)
        room = self._rooms.get(named[0]) if named else None
        if named is None or room is None:
            return
        tenant = room.tenants.get(named[1])
        if self.informer.get(key) is None:
            room.hosts.discard(key)
        else:
            room.hosts.add(key)
        if tenant is not None:
            self._compare(tenant)

    def _compare(self, tenant: Tenant) -> None:
        """Is the tenant's key as he holds it? What is older than his claim says nothing."""
        claim, prefix = tenant.claim, keys.hosts_prefix(tenant.grant.room_id)
        if not self.informer.is_listed(prefix):
            return
        kv = self.informer.get(claim.key)
        if kv is None:
            if self.informer.revision(prefix) > claim.revision:
                self._presence.doubt(claim)
        elif kv.mod_revision > claim.revision and not self._is_his(claim):
            self._presence.doubt(claim)

    def _is_his(self, claim: Claim) -> bool:
        try:
            host = self.informer.record(claim.key, Host)
        except UndecodableError:
            return False
        return host is not None and host.connection == claim.host.connection

    def _order(self, tenant: Tenant) -> None:
        key = keys.order(tenant.grant.room_id, tenant.grant.user)
        try:
            order = self.informer.record(key, Order)
        except UndecodableError as error:
            log.error("order.undecodable", error=str(error))
            return
        if order is not None and order.connection == tenant.claim.host.connection:
            tenant.tell(Ordered(order.muted, order.by))

    def _look(self, room_id: RoomId) -> None:
        """Tell what the room's keys say now, once all of them are listed."""
        room = self._rooms.get(room_id)
        if room is None or not self._is_listed(room):
            return
        self._listed(room_id)
        if not room.listed.is_set():
            room.listed.set()
            for tenant in list(room.tenants.values()):
                self._compare(tenant)
        try:
            seen = self._room_seen(room_id)
        except UndecodableError as error:
            log.error("room.undecodable", room=room_id, error=str(error))
            return
        if seen != room.seen:
            room.seen = seen
            for tenant in list(room.tenants.values()):
                tenant.tell(seen)

    def _room_seen(self, room_id: RoomId) -> RoomSeen:
        """Raises UndecodableError."""
        live = self.informer.record(keys.room(room_id, "livemeta"), LiveMeta)
        if self.informer.get(keys.room(room_id, "meta")) is None:
            return RoomSeen(Air.GONE)
        if live is None or live.status is Desired.STOPPING:
            return RoomSeen(Air.OFF)
        if live.status is Desired.REMOVING:
            return RoomSeen(Air.GONE)
        janus = self.informer.record(keys.room(room_id, "janus"), JanusState)
        place = self._place(live, janus)
        return RoomSeen(Air.ON, place) if place else RoomSeen(Air.COMING)

    def _place(self, live: LiveMeta, janus: JanusState | None) -> Place | None:
        if janus is None or janus.epoch != live.janus_epoch or janus.endpoints.ws is None:
            return None
        return Place(
            url=janus.endpoints.ws,
            number=janus.janus_room_id,
            epoch=live.janus_epoch,
            pin=host_pin(self._master, live.room_id, live.janus_epoch),
            secret=room_secret(self._master, live.room_id, live.janus_epoch),
        )
