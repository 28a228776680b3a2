"""Parts of a gateway for tests: on memory etcd in virtual time, with a socket, a session and a
Janus of their own."""

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from pkg import keys
from pkg.etcd.api import KV
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.events.api import SILENT, Events
from pkg.model import (
    Desired,
    Endpoints,
    Epoch,
    Gateway,
    Host,
    JanusState,
    JanusStatus,
    LiveMeta,
    ModuleId,
    RoomId,
    RoomMeta,
)
from pkg.tokens import Grant, Role
from tests.support.virtual import clock, put
from wsgateway.alarms import Alarms
from wsgateway.api import AudioBridge, Tell
from wsgateway.connection import Connection, Surroundings
from wsgateway.exchange import (
    Answered,
    Effect,
    Enter,
    Entered,
    EntryFailed,
    Event,
    Offer,
    OfferFailed,
    Refusal,
    SetMuted,
    Trickle,
)
from wsgateway.lock import Claim
from wsgateway.metrics import Metrics
from wsgateway.presence import Presence
from wsgateway.rooms import Rooms

BLUE = RoomId("blue")
MASTER = b"m" * 32
HOUR = 3600
BEGIN = 1_767_225_600  # the wall clock when virtual time began


def grant(user: str = "ann", *, until: float = HOUR, room: RoomId = BLUE, jti: str = "") -> Grant:
    """Issued when time began."""
    return Grant(user, room, Role.HOST, BEGIN, BEGIN + int(until), jti or f"token-of-{user}")


def gateway(gateway_id: str = "g1", pid: int = 1, host: str = "elsewhere") -> Gateway:
    return Gateway(
        url="ws://g/ws", host=host, started_at=clock(0), instance_id=f"i-{gateway_id}", pid=pid
    )


@dataclass
class Losses:
    """Counts how often a claim was lost."""

    count: int = 0

    def __call__(self) -> None:
        self.count += 1


def claim(
    connection: str = "c1", user: str = "ann", gateway_id: str = "g1", room: RoomId = BLUE
) -> Claim:
    host = Host(
        room_id=room,
        user_id=user,
        gateway_id=gateway_id,
        connection=connection,
        token_id=f"token-of-{user}",
        connected_at=clock(0),
    )
    return Claim(keys.host(room, user), host, Losses())


def holder(store: MemoryStore, user: str = "ann", room: RoomId = BLUE) -> str | None:
    """Which connection etcd has for the user."""
    store.expire()
    kv: KV | None = store.get(keys.host(room, user))
    return Host.decode(kv.value).connection if kv else None


@dataclass
class Part:
    """One gateway's, on a client of etcd of its own."""

    etcd: MemoryEtcd
    presence: Presence
    rooms: Rooms
    alarms: Alarms = field(default_factory=Alarms)
    metrics: Metrics = field(default_factory=Metrics)
    bridges: list["FakeBridge"] = field(default_factory=list)

    def surroundings(self) -> Surroundings:
        def bridge(_tasks: TaskGroup, tell: Tell) -> AudioBridge:
            self.bridges.append(FakeBridge(tell))
            return self.bridges[-1]

        return Surroundings(
            self.presence,
            self.rooms,
            self.alarms,
            self.metrics,
            bridge,
            lambda: BEGIN + anyio.current_time(),
        )


@asynccontextmanager
async def running(
    store: MemoryStore,
    gateway_id: str = "g1",
    *,
    max_hosts: int = 50,
    etcd: MemoryEtcd | None = None,
    events: Events = SILENT,
) -> AsyncGenerator[Part]:
    etcd, rng = etcd or MemoryEtcd(store), random.Random(1)
    presence = Presence(etcd, gateway_id, gateway(gateway_id), rng, events)
    part = Part(etcd, presence, Rooms(etcd, presence, MASTER, max_hosts, rng))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(presence.run)
        tasks.start_soon(part.rooms.informer.run)
        tasks.start_soon(part.alarms.run)
        await presence.registered.wait()
        await part.rooms.informer.synced.wait()
        yield part
        tasks.cancel_scope.cancel()


def meta(most: int | None = None) -> RoomMeta:
    return RoomMeta(room_id=BLUE, created_at=clock(0), max_participants=most)


def live(status: Desired = Desired.ONAIR, epoch: int = 7) -> LiveMeta:
    return LiveMeta(
        room_id=BLUE,
        status=status,
        janus_id=ModuleId("j1"),
        janus_epoch=Epoch(epoch),
        janus_slot=0,
        mixer_id=ModuleId("m1"),
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce="n",
        started_at=clock(0),
    )


def janus(epoch: int = 7, number: int = 123456) -> JanusState:
    return JanusState(
        janus_id=ModuleId("j1"),
        janus_room_id=number,
        status=JanusStatus.ROOM_CREATED,
        epoch=Epoch(epoch),
        endpoints=Endpoints(ws="ws://janus:8188"),
    )


async def on_air(etcd: MemoryEtcd, epoch: int = 7) -> None:
    await put(etcd, keys.room(BLUE, "meta"), meta())
    await put(etcd, keys.room(BLUE, "livemeta"), live(epoch=epoch))
    await put(etcd, keys.room(BLUE, "janus"), janus(epoch))


class FakeSocket:
    """What was pushed to the host, and how it was closed; ``say`` is the host's side."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.reads = True
        self._said, self._heard = anyio.create_memory_object_stream[str | bytes](100)

    def say(self, frame: str | bytes) -> None:
        self._said.send_nowait(frame)

    def hang_up(self) -> None:
        self._said.close()

    def push(self, text: str) -> int:
        self.sent.append(text)
        return 0 if self.reads else sum(map(len, self.sent))

    async def frames(self) -> AsyncGenerator[str | bytes]:
        async for frame in self._heard:
            yield frame

    async def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self._said.close()
        self._heard.close()


class FakeBridge:
    """Answers after ``takes`` seconds; ``verbs`` are those that were begun, ``done`` those that
    were not cancelled."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.takes = 0.1
        self.refuses: str | None = None  # whoever enters
        self.verbs: list[object] = []
        self.done: list[object] = []

    async def _do(self, verb: object) -> None:
        self.verbs.append(verb)
        await anyio.sleep(self.takes)
        self.done.append(verb)

    async def enter(self, effect: Enter) -> Entered | EntryFailed:
        await self._do(effect)
        if self.refuses is not None:
            return EntryFailed(effect.attempt, Refusal.REFUSED, self.refuses)
        return Entered(effect.attempt, 1, ())

    async def offer(self, effect: Offer) -> Answered | OfferFailed:
        await self._do(effect)
        return Answered(effect.offer, "answer", 1)

    async def trickle(self, effect: Trickle) -> None:
        await self._do(effect)

    async def set_muted(self, effect: SetMuted) -> None:
        await self._do(effect)

    async def exit(self) -> None:
        self.verbs.append("exit")
        self.done.append("exit")


class Script:
    """A session that answers each event as told: ``wants[type(event)]``, each time anew."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.wants: dict[type[object], Sequence[Effect]] = {}

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        self.events.append(event)
        return self.wants.get(type(event), ())

    def heard(self, kind: type[object]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Call:
    """A connection that runs, and its two ends."""

    connection: Connection
    socket: FakeSocket
    session: Script
    claim: Claim
    over: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        await self.connection.run()
        self.over.set()


async def connected(
    part: Part, tasks: TaskGroup, mine: Claim | None = None, *, until: float = HOUR
) -> Call:
    """Take the key, as the handshake does, and let the connection run."""
    mine = mine or claim()
    await part.presence.take(mine, takeover=False)
    socket, session = FakeSocket(), Script()
    given = grant(mine.host.user_id, until=until, room=mine.host.room_id)
    call = Call(
        Connection(part.surroundings(), socket, session, mine, given), socket, session, mine
    )
    tasks.start_soon(call.run)
    return call
