"""What a host's session decides: requests and news in, effects out (exchange.py). Pure: no I/O,
clock or log; the random source for waits is handed in.

``handle`` first takes in what happened, then looks at how things stand as a whole: is there a
room to be entered, does the client know who is there, does etcd know how far he is, when is there
something to do next. So news that comes twice, or at an odd time, needs no rule of its own.
"""

import random
from dataclasses import dataclass
from typing import Any

from pkg.model import HostStatus
from pkg.tokenbucket import Bucket
from wsgateway import exchange, rpc, rules, sdp
from wsgateway.answers import Reply
from wsgateway.client import Client
from wsgateway.entry import Entry
from wsgateway.exchange import Air, Effect, End, Event, Identity, Note, Place
from wsgateway.people import DisplayError, Participant, People, Roster, cleaned_display
from wsgateway.publication import Publication
from wsgateway.rules import Code, Fault

JOIN_SECONDS = 60.0  # a host who has not joined by then is disconnected
PATIENCE_SECONDS = 10.0  # how long a join waits for a room that comes, or for its Janus
# How long a join waits although the room is off: our copy of etcd may lag behind the answer that
# the client got when he started the room.
LAG_SECONDS = 1.0
MESSAGES_PER_SECOND, MESSAGES_BURST = 20.0, 100
OFFERS_PER_SECOND, OFFERS_BURST = 1.0, 10


@dataclass(frozen=True, slots=True)
class Waiting:
    """A join without an answer yet."""

    reply: Reply
    since: float


class Session:
    """One connection's, from its first RoomSeen to its Close."""

    def __init__(
        self, identity: Identity, rng: random.Random, *, join_seconds: float = JOIN_SECONDS
    ) -> None:
        self._identity = identity
        self._join_seconds = join_seconds
        self._join_by: float | None = None
        self._now = 0.0
        self._wake: float | None = None
        self._ending: End | None = None
        self._over = False
        self._client = Client()
        self._messages = Bucket(MESSAGES_PER_SECOND, MESSAGES_BURST)
        self._offers = Bucket(OFFERS_PER_SECOND, OFFERS_BURST)
        # The room, and how far we are in it.
        self._air = Air.OFF
        self._place: Place | None = None
        self._entry = Entry(rng)
        self._people = People()
        self._joins: list[Waiting] = []
        self._joined = False  # we got in once: from then on we follow wherever the room goes
        self._display: str | None = None
        self._noted = Note(HostStatus.CONNECTED, None, muted=False)
        # His voice.
        self._publication: Publication | None = None
        self._last_offer = 0
        self._muted = False
        self._muted_by: str | None = None  # the moderator who took it
        self._janus_muted = False  # as Janus was told

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Never raises. ``now``: seconds, never less than before. Nothing after a Close."""
        if self._over:
            return []
        self._now = now
        if self._join_by is None:
            self._join_by = now + self._join_seconds
        self._hear(event)
        self._give_up()
        if self._ending is None:
            self._go_where_the_room_is()
            self._tell()
            self._set_alarm()
        else:
            self._end(self._ending)
        return self._client.take()

    # --- what happened --------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        match event:
            case exchange.Received(text):
                self._receive(rpc.read(text))
            case exchange.RoomSeen(air, place):
                self._see_room(air, place)
            case exchange.Ordered(muted, by):
                self._obey(by, muted=muted)
            case exchange.Ended(why):
                self._ending = why
            case exchange.Woken():
                self._wake = None
            case _:
                self._hear_of_janus(event)

    def _hear_of_janus(
        self, event: exchange.EntryNews | exchange.PeopleNews | exchange.OfferNews
    ) -> None:
        if isinstance(event, exchange.EntryNews):
            self._hear_of_entry(event)
        elif isinstance(event, exchange.PeopleNews):
            if self._entry.is_stay(event.attempt):
                self._people.hear(event)
        elif (current := self._publication) and current.number == event.offer:
            self._hear_of_offer(event, current)

    def _see_room(self, air: Air, place: Place | None) -> None:
        self._air, self._place = air, place if air is Air.ON else None
        if self._joined and self._is_off():
            self._ending = End.ROOM_CLOSED
        elif self._is_off():
            self._exit()
        elif self._joined and self._place not in (None, self._entry.place):
            self._entry.move(self._now)

    def _hear_of_entry(self, event: exchange.EntryNews) -> None:
        match event:
            case exchange.Entered(attempt, participant_id, others):
                if self._entry.is_way(attempt):
                    self._people.enter(participant_id, others)
                    self._arrive()
            case exchange.EntryFailed(attempt, why):
                if self._entry.is_way(attempt):
                    self._fail(why)
            case exchange.PlaceLost(attempt):
                if self._entry.is_way(attempt) or self._entry.is_stay(attempt):
                    self._drop_publication(rules.MOVING)
                    self._entry.fail(self._now)

    def _hear_of_offer(self, event: exchange.OfferNews, current: Publication) -> None:
        match event:
            case exchange.Answered(_, answer, participant_id):
                self._people.become(participant_id)
                self._answer_offer(current, {"sdp": answer})
            case exchange.OfferFailed(_, why, words):
                refused = why is exchange.Refusal.REFUSED
                code = Code.INVALID_PARAMS if refused else Code.JANUS_UNAVAILABLE
                self._drop_publication(Fault(code, words))
            case exchange.MediaUp():
                current.live = True
            case exchange.MediaLost(_, words):
                self._drop_publication(Fault(Code.JANUS_UNAVAILABLE, words))
                self._client.notify("mediaLost", reason=words)
            case exchange.RemoteCandidate(_, candidate):
                self._client.notify("trickle", candidate=candidate)

    def _obey(self, by: str, *, muted: bool) -> None:
        """A voice is given back only if a moderator took it: never against the host's own wish."""
        if muted and not self._muted:
            self._mute(muted=True, by=by)
            self._inform("mutedBy", by)
        elif not muted and self._muted_by is not None:
            self._mute(muted=False)
            self._inform("unmutedBy", by)
        elif not muted and self._muted:
            self._inform("unmuteRequested", by)

    def _inform(self, method: str, by: str) -> None:
        if self._joined:
            self._client.notify(method, by=by)

    # --- what the client asks -------------------------------------------------------------

    def _receive(self, frame: rpc.Frame) -> None:
        if any(self._messages.take(self._now) for _ in range(frame.weight)):
            self._ending = End.TOO_FAST
            return
        for call, reply in self._client.open(frame):
            if isinstance(call, rpc.Wrong):
                self._client.settle(reply, call.fault)
            elif self._ending is not None:
                self._client.settle(reply, rules.closing(self._ending))
            elif fault := rules.wrong_call(call.method, call.params):
                self._client.settle(reply, fault)
            else:
                self._attempt(call, reply)

    def _attempt(self, call: rpc.Call, reply: Reply) -> None:
        try:
            self._do(call, reply)
        except (sdp.SdpError, DisplayError) as error:
            self._client.settle(reply, Fault(Code.INVALID_PARAMS, str(error)))

    def _do(self, call: rpc.Call, reply: Reply) -> None:
        match call.method:
            case "join":
                self._join(cleaned_display(call.params.get("display")), reply)
            case "publish":
                self._publish(call.params.get("sdp"), reply)
            case "trickle":
                self._trickle(call.params, reply)
            case "mute" | "unmute" if not self._joined:
                self._client.settle(reply, rules.JOIN_FIRST)
            case "mute" | "unmute":
                self._mute(muted=call.method == "mute")
                self._client.settle(reply, {})
            case "leave":
                self._client.settle(reply, {})
                self._ending = End.LEFT
            case _:
                self._client.settle(reply, "pong")

    def _join(self, display: str | None, reply: Reply) -> None:
        """Repeated: the same answer; the first name stands."""
        if not self._joined and not self._joins:
            self._display = display
        self._joins.append(Waiting(reply, self._now))
        if self._joined and self._entry.is_in:
            self._settle_joins(self._joins, self._welcome)

    def _publish(self, offer: object, reply: Reply) -> None:
        if fault := self._why_not_in():
            self._client.settle(reply, fault)
            return
        text = sdp.offer(offer)
        if self._offers.take(self._now):
            self._client.settle(reply, rules.TOO_MANY_OFFERS)
            return
        self._drop_publication(rules.LATER_OFFER)
        self._last_offer += 1
        self._publication = Publication(self._last_offer, text, reply)
        self._want(exchange.Offer(self._last_offer, text))

    def _trickle(self, params: dict[str, Any], reply: Reply) -> None:
        if fault := self._why_not_in():
            self._client.settle(reply, fault)
            return
        if "candidate" not in params:
            raise sdp.SdpError("candidate is missing")
        candidate = sdp.candidate(params["candidate"])
        current = self._publication
        if current is None:
            self._client.settle(reply, rules.PUBLISH_FIRST)
            return
        if current.takes(candidate):
            self._want(exchange.Trickle(current.number, candidate))
        self._client.settle(reply, {})

    def _mute(self, *, muted: bool, by: str | None = None) -> None:
        self._muted, self._muted_by = muted, by
        self._align_voice()

    # --- steps ----------------------------------------------------------------------------

    def _want(self, effect: Effect) -> None:
        self._client.effects.append(effect)

    def _is_off(self) -> bool:
        return self._air in (Air.OFF, Air.GONE)

    def _wants_in(self) -> bool:
        return self._joined or bool(self._joins)

    def _why_not_in(self) -> Fault | None:
        if not self._joined:
            return rules.JOIN_FIRST
        return None if self._entry.is_in else rules.MOVING

    def _arrive(self) -> None:
        self._entry.arrive(self._now)
        self._align_voice()
        if self._joined:
            self._client.notify("roomMoved", participants=self._client.learn(self._roster()))
        self._joined = True
        self._settle_joins(self._joins, self._welcome)

    def _welcome(self) -> dict[str, Any]:
        """A join's result, when it goes out: the client's list starts here."""
        return {
            "roomId": self._identity.room_id,
            "userId": self._identity.user_id,
            "participants": self._client.learn(self._roster()),
            "iceServers": list(self._identity.ice_servers),
        }

    def _settle_joins(self, joins: list[Waiting], outcome: Any) -> None:
        for join in joins:
            self._client.settle(join.reply, outcome)
        self._joins = [join for join in self._joins if join not in joins]

    def _fail(self, why: exchange.Refusal) -> None:
        """Whom Janus refuses at his first join hears it at once; later we try for ever."""
        self._entry.fail(self._now)
        if why is exchange.Refusal.REFUSED and not self._joined:
            self._settle_joins(self._joins, rules.REFUSED)

    def _answer_offer(self, current: Publication, outcome: Any) -> None:
        if current.reply is not None:
            self._client.settle(current.reply, outcome)
            current.reply = None

    def _drop_publication(self, fault: Fault) -> None:
        """Whatever comes of it now is stale."""
        if self._publication is not None:
            self._answer_offer(self._publication, fault)
        self._publication = None

    def _align_voice(self) -> None:
        if self._entry.is_in and self._muted != self._janus_muted:
            self._janus_muted = self._muted
            self._want(exchange.SetMuted(self._muted))

    def _exit(self) -> None:
        if self._entry.place is not None:
            self._entry.end()
            self._want(exchange.Exit())

    # --- how things stand -----------------------------------------------------------------

    def _patience(self) -> float:
        return LAG_SECONDS if self._is_off() else PATIENCE_SECONDS

    def _give_up(self) -> None:
        """What has waited long enough, and what nobody wants any more."""
        patience = self._patience()
        overdue = [join for join in self._joins if self._now >= join.since + patience]
        self._settle_joins(overdue, rules.why_not_joined(self._air))
        if not self._wants_in():
            self._exit()
            if self._join_by is not None and self._now >= self._join_by:
                self._ending = self._ending or End.NOT_JOINED

    def _go_where_the_room_is(self) -> None:
        place = self._place
        if place is None or not self._is_away() or not self._entry.is_due(self._now):
            return
        self._drop_publication(rules.MOVING)
        self._janus_muted = self._muted
        attempt = self._entry.begin(place)
        me = self._identity
        self._want(exchange.Enter(attempt, place, me.user_id, self._display, self._muted, me.fence))

    def _is_away(self) -> bool:
        """There is a place where we should be, and we are not even on the way."""
        return self._wants_in() and self._place not in (None, self._entry.place)

    def _roster(self) -> Roster:
        me = self._identity.user_id
        return self._people.roster(
            Participant(me, self._display, muted=self._muted, live=self._is_live())
        )

    def _is_live(self) -> bool:
        return self._publication is not None and self._publication.live

    def _tell(self) -> None:
        """The client of the others, and etcd of him."""
        if self._joined:
            self._client.follow(self._roster())
        note = Note(self._status(), self._display if self._joined else None, self._muted)
        if note != self._noted:
            self._noted = note
            self._want(note)

    def _status(self) -> HostStatus:
        if not self._joined or not self._entry.is_in:
            return HostStatus.CONNECTED
        return HostStatus.LIVE if self._is_live() else HostStatus.JOINED

    def _set_alarm(self) -> None:
        times = [join.since + self._patience() for join in self._joins]
        if not self._wants_in() and self._join_by is not None:
            times.append(self._join_by)
        if self._is_away() and self._entry.retry_at is not None:
            times.append(self._entry.retry_at)
        wake = min(times, default=None)
        if wake != self._wake:
            self._wake = wake
            self._want(exchange.WakeAt(wake))

    def _end(self, why: End) -> None:
        """Everybody who waits gets his answer, and Janus hears it before the socket closes."""
        fault = rules.OFF_AIR if why is End.ROOM_CLOSED else rules.closing(why)
        self._drop_publication(fault)
        self._settle_joins(self._joins, fault)
        if why is End.ROOM_CLOSED:
            gone = self._air is Air.GONE
            self._client.notify("roomClosed", reason=rules.DELETED if gone else rules.STOPPED)
        self._exit()
        self._want(rules.close(why))
        self._over = True
