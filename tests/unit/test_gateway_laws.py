"""A host's session under everything at once, in any order: laws (wsgateway/session.py).

A fake Janus and a fake etcd do what they like, the client says whatever it likes; then both
behave, and the host must be where his room is.
"""

import json
import unicodedata
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pkg.model import HostStatus
from tests.support.hosttalk import CANDIDATE, ME, OFFER, Talk, on, place
from wsgateway import sdp
from wsgateway.exchange import (
    Air,
    Answered,
    Effect,
    End,
    Ended,
    Enter,
    Entered,
    EntryFailed,
    Exit,
    MediaLost,
    MediaUp,
    Note,
    Offer,
    OfferFailed,
    Ordered,
    Peer,
    PeerLeft,
    PeersSeen,
    PlaceLost,
    Received,
    Refusal,
    RemoteCandidate,
    RoomSeen,
    SetMuted,
    Talking,
    Trickle,
    Woken,
)
from wsgateway.rules import METHODS

USERS = ("ben", "cleo", ME)
PEERS = st.builds(
    Peer,
    st.integers(2, 5),
    st.sampled_from(USERS),
    st.sampled_from([None, "Ben"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
EVIL = {"janus": "destroy", "admin_key": "x", "secret": "x", "room": 1}
PARAMS: dict[str, st.SearchStrategy[Any]] = {
    "join": st.just({})
    | st.builds(dict, display=st.text(max_size=70) | st.sampled_from(["Ann", "\u202eevil\x00"])),
    "publish": st.sampled_from([{"sdp": OFFER}, {"sdp": OFFER[:-9]}, {"sdp": "v=0"}, {}]),
    "trickle": st.sampled_from(
        [
            {"candidate": None},
            {"candidate": {"candidate": CANDIDATE, "sdpMid": "0"} | EVIL},
            {"candidate": {"candidate": CANDIDATE.replace("192.0.2.7", "evil.example")}},
        ]
    ),
}
METHOD = st.sampled_from([m for m in METHODS if m != "leave"] * 3 + ["leave", "kick"])
CALLS = st.builds(
    lambda method, params: {"method": method, "params": params},
    st.shared(METHOD, key="method"),
    st.shared(METHOD, key="method").flatmap(
        lambda m: PARAMS.get(m, st.just({})) | st.just(EVIL) | JUNK
    ),
)
ROOMS = st.sampled_from(
    [on(1), on(2), on(3)] * 2 + [RoomSeen(Air.COMING)] * 2 + [RoomSeen(Air.OFF), RoomSeen(Air.GONE)]
)


class Janus:
    """What really is, as far as this host's connection goes."""

    def __init__(self) -> None:
        self.entering: Enter | None = None
        self.stay: Enter | None = None
        self.own = 1
        self.muted = False
        self.peers: dict[int, Peer] = {}
        self.offer: int | None = None
        self.live = False

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case Enter():
                self.leave()
                self.entering, self.muted = effect, effect.muted
            case Exit():
                assert self.entering or self.stay, "there is something to leave"
                self.leave()
            case Offer(number):
                assert self.stay, "we are in"
                self.offer, self.live = number, False
            case Trickle(number):
                assert self.stay
                assert number == self.offer
            case SetMuted(muted):
                assert self.stay
                assert muted is not self.muted
                self.muted = muted
            case _:
                pass

    def leave(self) -> None:
        self.entering = self.stay = self.offer = None
        self.peers, self.live = {}, False


class Hosting(RuleBasedStateMachine):
    """Each rule is one event; what it leads to is carried out at once."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.janus = Janus()
        self.seen = RoomSeen(Air.OFF)
        self.asked_ids = 0
        self.note = Note(HostStatus.CONNECTED, None, muted=False)

    @initialize(room=ROOMS)
    def begin(self, room: RoomSeen) -> None:
        self.see_room(room)

    def tell(self, *events: Any) -> list[Effect]:
        effects = self.talk.tell(*events)
        self.carry_out(effects)
        return effects

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.check(effect)
            self.janus.carry_out(effect)
            if isinstance(effect, Note):
                assert effect != self.note
                self.note = effect

    def check(self, effect: Effect) -> None:
        """Nothing of a client's reaches Janus but what was checked."""
        match effect:
            case Enter(_, where, user_id, display):
                assert where == self.seen.place, "always the place that etcd shows"
                assert user_id == ME
                assert display is None or (len(display) <= 64 and display == display.strip())
                assert "Cc" not in map(unicodedata.category, display or "")
                assert "\u202e" not in (display or "")
            case Offer(_, text):
                assert text == sdp.offer(text)
            case Trickle(_, candidate) if candidate is not None:
                assert candidate == {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0}
            case _:
                pass

    def closed_as(self) -> int | None:
        return self.talk.closed.code if self.talk.closed else None

    # --- the client ---

    @rule(
        calls=st.lists(CALLS, min_size=1, max_size=4),
        batch=st.booleans(),
        asks=st.lists(st.booleans(), min_size=4, max_size=4),
    )
    def call(self, calls: list[dict[str, Any]], batch: bool, asks: list[bool]) -> None:
        sent = [dict(call) for call in calls]
        for call, wants in zip(sent, asks, strict=False):
            if wants:
                self.asked_ids += 1
                call["id"] = self.asked_ids
        for message in [sent] if batch else sent:
            if self.talk.closed is None:
                self.carry_out(self.talk.say(message))

    @rule(text=st.text(max_size=10) | JUNK.map(json.dumps))
    def babble(self, text: str) -> None:
        self.tell(Received(text))

    @precondition(lambda self: self.talk.closed is None)
    @rule()
    def join(self) -> None:
        self.call([{"method": "join", "params": {}}], batch=False, asks=[True])

    @precondition(lambda self: self.janus.stay)
    @rule()
    def publish(self) -> None:
        self.call([{"method": "publish", "params": {"sdp": OFFER}}], batch=False, asks=[True])

    # --- etcd, moderators, time ---

    @rule(room=ROOMS)
    def see_room(self, room: RoomSeen) -> None:
        self.seen = room
        self.tell(room)

    @rule(muted=st.booleans())
    def order(self, muted: bool) -> None:
        self.tell(Ordered(muted=muted, by="mod"))

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 12.0]))
    def wait(self, seconds: float) -> None:
        end = self.talk.now + seconds
        while self.talk.closed is None and (wake := self.talk.wake) is not None and wake <= end:
            self.talk.now, self.talk.wake = wake, None
            self.tell(Woken())
        self.talk.now = end

    @rule()
    def wake_early(self) -> None:
        self.talk.wake = None
        self.tell(Woken())

    @rule(why=st.sampled_from([*End]), likely=st.integers(0, 9))
    def end(self, why: End, likely: int) -> None:
        if likely == 0:
            self.tell(Ended(why))

    # --- Janus ---

    @precondition(lambda self: self.janus.entering)
    @rule(peers=st.lists(PEERS, max_size=3, unique_by=lambda peer: peer.participant_id))
    def let_in(self, peers: list[Peer]) -> None:
        entering = self.janus.entering
        assert entering
        self.janus.entering, self.janus.stay, self.janus.own = None, entering, 1
        self.janus.peers = {peer.participant_id: peer for peer in peers}
        self.tell(Entered(entering.attempt, 1, tuple(peers)))

    @precondition(lambda self: self.janus.entering)
    @rule(why=st.sampled_from([*Refusal]))
    def let_nobody_in(self, why: Refusal) -> None:
        entering = self.janus.entering
        assert entering
        self.janus.leave()
        self.tell(EntryFailed(entering.attempt, why, "words"))

    @precondition(lambda self: self.janus.entering or self.janus.stay)
    @rule()
    def lose_place(self) -> None:
        there = self.janus.entering or self.janus.stay
        assert there
        self.janus.leave()
        self.tell(PlaceLost(there.attempt, "words"))

    @precondition(lambda self: self.janus.stay)
    @rule(peer=PEERS)
    def show_peer(self, peer: Peer) -> None:
        assert self.janus.stay
        self.janus.peers[peer.participant_id] = peer
        self.tell(PeersSeen(self.janus.stay.attempt, (peer,)))

    @precondition(lambda self: self.janus.peers)
    @rule(data=st.data(), talking=st.booleans())
    def change_peer(self, data: st.DataObject, talking: bool) -> None:
        assert self.janus.stay
        attempt = self.janus.stay.attempt
        number = data.draw(st.sampled_from(sorted(self.janus.peers)))
        if data.draw(st.booleans()):
            self.janus.peers[number] = replace(self.janus.peers[number], talking=talking)
            self.tell(Talking(attempt, number, talking))
        else:
            del self.janus.peers[number]
            self.tell(PeerLeft(attempt, number))

    @precondition(lambda self: self.janus.offer)
    @rule(what=st.sampled_from(["answer", "up", "trickle", "refuse", "silent", "lost"]))
    def treat_offer(self, what: str) -> None:
        number = self.janus.offer
        assert number
        ends = what in ("refuse", "silent", "lost")
        self.janus.offer = None if ends else number
        self.janus.live = not ends and (self.janus.live or what == "up")
        self.tell(
            {
                "answer": Answered(number, "v=0", self.janus.own),
                "up": MediaUp(number),
                "trickle": RemoteCandidate(number, None),
                "refuse": OfferFailed(number, Refusal.REFUSED, "words"),
                "silent": OfferFailed(number, Refusal.UNAVAILABLE, "words"),
                "lost": MediaLost(number, "words"),
            }[what]
        )

    @rule(back=st.integers(1, 3), data=st.data())
    def tell_old_news(self, back: int, data: st.DataObject) -> None:
        """Of an attempt that is over, or of an offer."""
        there = self.janus.entering or self.janus.stay
        attempts = [e.attempt for e in self.talk.of(Enter)] or [0]
        offers = [e.offer for e in self.talk.of(Offer)] or [0]
        attempt = data.draw(st.sampled_from(attempts))
        offer = data.draw(st.sampled_from(offers))
        if there is None or attempt != there.attempt:
            assert not self.tell(
                Entered(attempt, 9, (Peer(9, "eve"),)),
                EntryFailed(attempt, Refusal.UNAVAILABLE, "words"),
                PlaceLost(attempt, "words"),
                PeersSeen(attempt, (Peer(9, "eve"),)),
                PeerLeft(attempt, 2),
                Talking(attempt, 2, talking=True),
            )
        if offer != self.janus.offer:
            assert not self.tell(
                Answered(offer, "v=0", 9), MediaUp(offer), MediaLost(offer, "words")
            )

    # --- laws ---

    @invariant()
    def each_request_is_answered_once_or_the_connection_closes(self) -> None:
        for call_id, answers in self.talk.answers.items():
            assert call_id is None or len(answers) == 1
        if self.talk.closed is not None and self.talk.closed.code != 1008:
            assert all(call_id in self.talk.answers for call_id in self.talk.asked)

    @invariant()
    def what_others_know_is_so(self) -> None:
        if self.talk.closed is not None:
            assert self.janus.entering is self.janus.stay is None, "left before the close"
            return
        assert self.note.muted == self.janus.muted or not self.janus.stay
        expected = HostStatus.LIVE if self.janus.live else HostStatus.JOINED
        assert self.note.status == (expected if self.janus.stay else HostStatus.CONNECTED)

    @invariant()
    def the_clients_list_is_the_room(self) -> None:
        if self.talk.closed is not None or not self.janus.stay:
            return
        users = {peer.user_id for peer in self.janus.peers.values()}
        assert set(self.talk.people) == users | {ME}
        assert self.talk.people[ME]["live"] == self.janus.live
        assert self.talk.people[ME]["muted"] == self.janus.muted
        for peer in self.janus.peers.values():
            alone = [p.user_id for p in self.janus.peers.values()].count(peer.user_id) == 1
            if alone and peer.user_id != ME:
                shown = self.talk.people[peer.user_id]
                assert (shown["live"], shown["muted"]) == (peer.live, peer.muted)
                assert shown["talking"] == (peer.talking and not peer.muted)

    def teardown(self) -> None:
        """Etcd shows a place and Janus lets us in: then he is there, and knows."""
        self.wait(15)
        if self.closed_as() is not None:
            return
        self.talk.news()
        joined = bool(self.talk.people)
        self.see_room(on(9))
        self.join()
        for _ in range(3):
            if self.janus.entering:
                self.let_in([])
            self.wait(2.0)
        if self.closed_as() is not None:
            assert self.closed_as() == 1008, "he said too much before"
            return
        assert self.janus.stay
        assert self.janus.stay.place == place(9)
        assert ("roomMoved" in self.talk.news()) == joined
        assert self.talk.result(self.asked_ids)["participants"] == [*self.talk.people.values()]
        assert [*self.talk.people] == [ME]


TestHosting = Hosting.TestCase
TestHosting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
