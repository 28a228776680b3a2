"""One host's connection: feeds his session what happens, and carries out what it wants, in order.

Frames, news of the room and alarms are handled at once, where they occur. Only Janus takes time:
its verbs wait in a queue of their own, so that a slow Janus never holds up the socket, and a new
way in (or out) overtakes whatever was meant for the old place.
"""

from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import structlog
from anyio.abc import TaskGroup

from pkg.outage import Outages
from pkg.tokens import LEEWAY_SECONDS, Grant
from wsgateway.alarms import Alarm, Alarms
from wsgateway.api import AudioBridge, Bridges, SessionLogic, Socket
from wsgateway.exchange import (
    Close,
    Effect,
    End,
    Ended,
    Enter,
    Entered,
    EntryFailed,
    Event,
    Exit,
    Note,
    Offer,
    PeopleNews,
    Received,
    Send,
    SetMuted,
    Trickle,
    WakeAt,
    Woken,
)
from wsgateway.lock import Claim
from wsgateway.metrics import Metrics
from wsgateway.presence import Presence
from wsgateway.rooms import Rooms
from wsgateway.rules import close
from wsgateway.spares import Spares

log = structlog.get_logger()

MAX_QUEUED_BYTES = 256 * 1024
MAX_WAITING_VERBS = 256  # a client is held to 20 frames a second, a verb to 10 s
SETTLE_SECONDS = 5.0
FREE_SECONDS = 1.0
NEWS_SECONDS = 0.02  # that others came, talk, go
EXIT_SECONDS = 1.0

GONE = Close(1000, "")  # the socket ended first: nobody reads it

Verb: TypeAlias = Enter | Offer | Trickle | SetMuted | Exit


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections of a gateway share. ``clock``: seconds since 1970.

    ``entries``: Januses that let nobody in, each told of once for all its hosts.
    """

    presence: Presence
    rooms: Rooms
    alarms: Alarms
    metrics: Metrics
    bridges: Bridges
    clock: Callable[[], float]
    entries: Outages = field(
        default_factory=lambda: Outages("janus.entry_failed", "janus.entry_recovered")
    )
    spares: Spares = field(default_factory=Spares)


class Connection:
    """``claim`` is taken already; ``run`` frees it."""

    def __init__(
        self,
        around: Surroundings,
        socket: Socket,
        session: SessionLogic,
        claim: Claim,
        grant: Grant,
    ) -> None:
        self.claim = claim
        self.grant = grant
        self._around = around
        self._socket = socket
        self._session = session
        self._events: deque[Event] = deque()
        self._news: list[Event] = []
        self._handling = False
        self._closing: Close | None = None
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._bridge: AudioBridge | None = None
        self._verbs: deque[Verb] = deque()
        self._doing: Verb | None = None
        self._note: Note | None = None  # to be written
        self._under_way: anyio.CancelScope | None = None
        self._leaving = False
        self._janus_left = anyio.Event()
        self._expiry: Alarm | None = None
        self._wake: Alarm | None = None

    async def run(self) -> None:
        """Until the host leaves, or is to go. His key is free before his socket is closed."""
        key = self.claim.key
        log.info("host.connected", key=key, connection=self.claim.host.connection)
        self._around.rooms.follow(self.grant.room_id)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    with self._scope:
                        await self._serve()
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._end()
                tasks.cancel_scope.cancel()
        finally:
            code = self._closing.code if self._closing not in (None, GONE) else None
            self._around.rooms.unfollow(self.grant.room_id)
            self._around.metrics.closed(code)
            log.info("host.gone", key=key, code=code)

    def tell(self, event: Event) -> None:
        """Handle it now, or right after the one that is being handled. Never waits."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events and self._closing is None:
                self._handle(self._events.popleft())
        except Exception:  # of this one session; whoever told it tells others, too
            log.exception("session.failed", connection=self.claim.host.connection)
            self._close(close(End.FAILED))
        finally:
            self._handling = False
            self._events.clear()

    def end(self, why: End) -> None:
        """Have it closed for this reason."""
        self.tell(Ended(why))

    # -- its life --------------------------------------------------------------------------

    async def _serve(self) -> None:
        rooms = self._around.rooms
        with anyio.move_on_after(SETTLE_SECONDS):  # else etcd is away: he may stay, and wait
            await rooms.settled(self.claim)
            if rooms.is_full(self.claim):
                self._close(close(End.ROOM_FULL))
                return
        left = self.grant.expires_at + LEEWAY_SECONDS - self._around.clock()
        self._expiry = self._around.alarms.set(
            anyio.current_time() + left, lambda: self.end(End.EXPIRED)
        )
        rooms.attach(self)
        if url := rooms.janus_of(self.grant.room_id):
            self._around.spares.expect(url)
        await self._listen()

    async def _listen(self) -> None:
        async with aclosing(self._socket.frames()) as frames:
            async for frame in frames:
                self._around.metrics.received.inc()
                if not isinstance(frame, str):
                    self._close(close(End.BINARY))
                    return
                self.tell(Received(frame))

    async def _end(self) -> None:
        self._closing = self._closing or GONE  # whatever else is told changes nothing
        for alarm in (self._expiry, self._wake):
            if alarm is not None:
                alarm.cancel()
        self._around.rooms.detach(self)
        self._leave_janus()
        with anyio.move_on_after(FREE_SECONDS):
            await self._around.presence.freed(self.claim)
        await self._socket.close(self._closing.code, self._closing.reason)
        with anyio.move_on_after(EXIT_SECONDS):
            await self._janus_left.wait()

    # -- what the session wants ------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        for effect in self._session.handle(event, anyio.current_time()):
            if self._closing is None:
                self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(text):
                self._send(text)
            case Close():
                self._close(effect)
            case Note():
                self._note = effect
                self._write_note()
            case WakeAt(time):
                self._wake_at(time)
            case Enter() | Offer() | Trickle() | SetMuted() | Exit():
                self._queue(effect)

    def _write_note(self) -> None:
        """Once Janus has done it: who calls for a host's silence waits for this."""
        note = self._note
        if note is None or any(isinstance(v, SetMuted) for v in (self._doing, *self._verbs)):
            return
        self._note = None
        self._around.presence.note(self.claim, note.status, note.display, muted=note.muted)

    def _send(self, text: str) -> None:
        self._around.metrics.sent.inc()
        if self._socket.push(text) > MAX_QUEUED_BYTES:
            self.end(End.TOO_SLOW)

    def _close(self, closing: Close) -> None:
        self._closing = self._closing or closing
        self._scope.cancel()

    def _wake_at(self, time: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = None
        if time is not None:
            self._wake = self._around.alarms.set(time, lambda: self.tell(Woken()))

    # -- Janus -----------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        """What comes of Janus, in its order."""
        if isinstance(event, PeopleNews):
            self._put_off(event)
        else:
            self._tell_news()
            self.tell(event)

    def _put_off(self, event: Event) -> None:
        """Who enters is told so before all others, some of whom share this loop, hear of him."""
        if not self._news:
            self._around.alarms.set(anyio.current_time() + NEWS_SECONDS, self._tell_news)
        self._news.append(event)

    def _tell_news(self) -> None:
        news, self._news = self._news, []
        for event in news:
            self.tell(event)

    def _queue(self, verb: Verb) -> None:
        if isinstance(verb, Enter | Exit):
            self._verbs.clear()
            if self._under_way is not None:
                self._under_way.cancel()
        elif isinstance(verb, Offer):
            self._verbs = deque(v for v in self._verbs if not _is_before(v, verb.offer))
        self._verbs.append(verb)
        if len(self._verbs) > MAX_WAITING_VERBS:
            self._close(close(End.TOO_FAST))
        elif self._under_way is None and self._tasks is not None:
            self._under_way = anyio.CancelScope()
            self._tasks.start_soon(self._work, self._tasks)

    def _leave_janus(self) -> None:
        if self._bridge is None and self._under_way is None:
            self._janus_left.set()
        else:
            self._leaving = True
            self._queue(Exit())

    async def _work(self, tasks: TaskGroup) -> None:
        """Carry verbs to Janus while there are any; an idle host has no task for it."""
        while self._verbs:
            verb, answer = self._verbs.popleft(), None
            self._doing = verb
            with anyio.CancelScope() as self._under_way:
                bridge = self._bridge = self._bridge or self._around.bridges(tasks, self._hear)
                answer = await _ask(bridge, verb)
            self._doing = None
            if isinstance(verb, Enter):
                self._tell_entry(verb, answer)
            if answer is not None:
                self._hear(answer)
            self._write_note()
        self._under_way = None
        if self._leaving:
            self._janus_left.set()

    def _tell_entry(self, enter: Enter, answer: Event | None) -> None:
        url = enter.place.url
        if isinstance(answer, Entered):
            self._around.entries.over(url, janus=url)
        elif isinstance(answer, EntryFailed):
            self._around.entries.failed(url, janus=url, why=answer.why, words=answer.words)


async def _ask(bridge: AudioBridge, verb: Verb) -> Event | None:
    match verb:
        case Enter():
            return await bridge.enter(verb)
        case Offer():
            return await bridge.offer(verb)
        case Trickle():
            await bridge.trickle(verb)
        case SetMuted():
            await bridge.set_muted(verb)
        case Exit():
            await bridge.exit()
    return None


def _is_before(verb: Verb, offer: int) -> bool:
    """Is it of an offer before this one?"""
    return isinstance(verb, Offer | Trickle) and verb.offer < offer
