"""A host's session under everything at once, in any order: laws (wsgateway/session.py).

A fake Janus and a fake etcd do what they like, the client says whatever it likes; then both
behave, and the host must be where his room is. Stories are told from a seed: a failure names it.
"""

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fakebridge import FakeBridge, check
from tests.support.hosttalk import CANDIDATE, ME, OFFER, Talk, on, place
from wsgateway.exchange import (
    Air,
    Answered,
    Effect,
    End,
    Ended,
    Enter,
    Entered,
    EntryFailed,
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
    Talking,
    Woken,
)
from wsgateway.rules import METHODS

STORIES = int(os.environ.get("ONAIR_TEST_GATEWAY_STORIES", "400"))  # noqa: TID251
STEPS = 80
EVIL: dict[str, Any] = {"janus": "destroy", "admin_key": "x", "secret": "x", "room": 1}
NAMES = [None, "Ann", "\u202eevil\x00", "x" * 70, 7]
PARAMS: dict[str, list[dict[str, Any]]] = {
    "join": [*[{}] * 5, *({"display": name} for name in NAMES)],
    "publish": [{"sdp": OFFER}] * 9 + [{"sdp": OFFER[:-9]}, {"sdp": "v=0"}, {}],
    "trickle": [
        {"candidate": None},
        {"candidate": {"candidate": CANDIDATE, "sdpMid": "0"} | EVIL},
        {"candidate": {"candidate": CANDIDATE.replace("192.0.2.7", "evil.example")}},
    ],
}
JUNK: list[Any] = [EVIL, [], "x", 7, {"sdp": {}}, {"candidate": []}, None]
BABBLE = ["{", "[]", "7", '{"id": {}}', '{"method": 1}', "\ud800", "[7, 7]"]


class Story:
    """Each step is one thing that happens; what it leads to is carried out at once."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.talk = Talk()
        self.janus = FakeBridge()
        self.seen = RoomSeen(Air.OFF)
        self.ids = 0

    def run(self) -> None:
        self.see_room()
        for _ in range(STEPS):
            (step,) = self.rng.choices([*WEIGHTS], [*WEIGHTS.values()])
            step(self)
            self.check_laws()
        self.come_to_rest()

    def tell(self, *events: Any) -> list[Effect]:
        return self.carry_out(self.talk.tell(*events))

    def carry_out(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            check(effect, self.seen.place)
            self.janus.carry_out(effect)
        return effects

    def peer(self) -> Peer:
        number, user = self.rng.randint(2, 5), self.rng.choice(["ben", "cleo", ME])
        muted, live, talking = (self.rng.random() < 0.5 for _ in range(3))
        return Peer(number, user, self.rng.choice([None, "Ben"]), muted, live, talking)

    # --- the client ---

    def call(self, *methods: str) -> None:
        calls = [self._a_call(method) for method in methods]
        for message in [calls] if len(calls) > 1 else calls:
            if self.talk.closed is None:
                self.carry_out(self.talk.say(message))

    def _a_call(self, method: str) -> dict[str, Any]:
        params = self.rng.choice(PARAMS.get(method, [{}]))
        if self.rng.random() < 0.1:
            params = self.rng.choice(JUNK)
        call: dict[str, Any] = {"method": method, "params": params}
        if self.rng.random() < 0.9:
            self.ids += 1
            call["id"] = self.ids
        return call

    def call_some(self) -> None:
        known = [method for method in METHODS if method != "leave"] + ["kick"]
        self.call(*self.rng.choices(known, k=self.rng.choice([1, 1, 1, 3])))

    def join(self) -> None:
        self.call("join")

    def publish(self) -> None:
        self.call("publish")
        self.treat_offer()

    def babble(self) -> None:
        self.tell(Received(self.rng.choice(BABBLE)))

    def leave(self) -> None:
        self.call(*self.rng.choice([("leave",), ("join", "leave", "ping")]))

    # --- etcd, moderators, time ---

    def see_room(self) -> None:
        self.seen = self.rng.choice([on(1), on(1), on(2), on(3), RoomSeen(Air.COMING)])
        self.tell(self.seen)

    def close_room(self) -> None:
        self.seen = self.rng.choice([RoomSeen(Air.OFF), RoomSeen(Air.GONE)])
        self.tell(self.seen)

    def order(self) -> None:
        self.tell(Ordered(muted=self.rng.random() < 0.5, by="mod"))

    def end(self) -> None:
        self.tell(Ended(self.rng.choice([*End])))

    def wait(self, seconds: float | None = None) -> None:
        end = self.talk.now + (seconds or self.rng.choice([0.01, 0.1, 0.3, 2.0, 12.0]))
        while self.talk.closed is None and (wake := self.talk.wake) is not None and wake <= end:
            self.talk.now, self.talk.wake = wake, None
            self.tell(Woken())
        self.talk.now = end

    def wake_early(self) -> None:
        self.talk.wake = None
        self.tell(Woken())

    # --- Janus ---

    def answer_entry(self) -> None:
        if (entering := self.janus.entering) is None:
            return
        if self.rng.random() < 0.2:
            self.janus.leave()
            why = self.rng.choice([*Refusal])
            self.tell(EntryFailed(entering.attempt, why, "words"))
            return
        peers = tuple({peer.participant_id: peer for peer in (self.peer(), self.peer())}.values())
        self.janus.let_in(peers)
        self.tell(Entered(entering.attempt, self.janus.own, peers))

    def lose_place(self) -> None:
        there = self.janus.entering or self.janus.stay
        if there is not None:
            self.janus.leave()
            self.tell(PlaceLost(there.attempt, "words"))

    def show_peer(self) -> None:
        if self.janus.stay:
            peer = self.peer()
            self.janus.peers[peer.participant_id] = peer
            self.tell(PeersSeen(self.janus.stay.attempt, (peer,)))

    def change_peer(self) -> None:
        if self.janus.stay is None or not self.janus.peers:
            return
        attempt, number = self.janus.stay.attempt, self.rng.choice([*self.janus.peers])
        if self.rng.random() < 0.5:
            self.janus.peers[number] = replace(self.janus.peers[number], talking=True)
            self.tell(Talking(attempt, number, talking=True))
        else:
            del self.janus.peers[number]
            self.tell(PeerLeft(attempt, number))

    def treat_offer(self) -> None:
        if (number := self.janus.offer) is None:
            return
        good = [
            *(Answered(number, "v=0", self.janus.own), MediaUp(number)) * 4,
            RemoteCandidate(number, None),
        ]
        bad = [OfferFailed(number, why, "words") for why in Refusal]
        news = self.rng.choice([*good, *bad, MediaLost(number, "words")])
        self.janus.live |= isinstance(news, MediaUp)
        if isinstance(news, OfferFailed | MediaLost):
            self.janus.drop_offer()
        self.tell(news)

    def tell_old_news(self) -> None:
        """Of an attempt or an offer that is over: nothing may come of it."""
        there = self.janus.entering or self.janus.stay
        old = self.rng.choice([e.attempt for e in self.talk.of(Enter)] or [0])
        if there is None or old != there.attempt:
            eve = Peer(9, "eve")
            assert not self.tell(Entered(old, 9, (eve,)), PeersSeen(old, (eve,)))
            assert not self.tell(PlaceLost(old, "words"), Talking(old, 2, talking=True))
            assert not self.tell(EntryFailed(old, Refusal.REFUSED, "words"), PeerLeft(old, 2))
        old = self.rng.choice([e.offer for e in self.talk.of(Offer)] or [0])
        if old != self.janus.offer:
            assert not self.tell(Answered(old, "v=0", 9), OfferFailed(old, Refusal.REFUSED, "x"))
            assert not self.tell(MediaUp(old), MediaLost(old, "x"), RemoteCandidate(old, None))

    # --- laws ---

    def check_laws(self) -> None:
        talk = self.talk
        assert all(len(answers) == 1 for n, answers in talk.answers.items() if n is not None)
        if talk.closed is not None:
            assert self.janus.entering is self.janus.stay is None, "left before the close"
            if talk.closed.code != 1008:
                assert talk.asked.keys() <= talk.answers.keys()
            return
        self.janus.check_note(([Note("connected", None, muted=False), *talk.of(Note)])[-1])  # type: ignore[arg-type]
        if self.janus.stay:
            self.janus.check_list(talk.people)
        if self.seen.air in (Air.OFF, Air.GONE):
            assert self.janus.entering is None

    def closed_as(self) -> int | None:
        return self.talk.closed.code if self.talk.closed else None

    def come_to_rest(self) -> None:
        """Etcd shows a place and Janus lets us in: then he is there, and knows."""
        self.wait(15)
        if self.closed_as() is not None:
            return
        joined = bool(self.talk.people)
        self.talk.news()
        self.seen = on(9)
        self.tell(self.seen)
        self.carry_out(self.talk.say({"id": "last", "method": "join"}))
        for _ in range(3):
            if entering := self.janus.entering:
                self.janus.let_in(())
                self.tell(Entered(entering.attempt, self.janus.own, ()))
            self.wait(2.0)
        assert self.closed_as() is None
        assert self.janus.stay is not None
        assert self.janus.stay.place == place(9)
        assert ("roomMoved" in self.talk.news()) == joined
        assert "participants" in self.talk.result("last")
        assert [*self.talk.people] == [ME]
        self.check_laws()
        unanswered = self.talk.asked.keys() - self.talk.answers.keys()
        assert len(unanswered) <= 1, "but the offer that Janus has"


WEIGHTS: dict[Callable[[Story], None], float] = {
    Story.call_some: 4,
    Story.join: 2,
    Story.publish: 3,
    Story.babble: 0.3,
    Story.leave: 0.05,
    Story.see_room: 0.7,
    Story.close_room: 0.1,
    Story.order: 1,
    Story.end: 0.1,
    Story.wait: 3,
    Story.wake_early: 0.5,
    Story.answer_entry: 8,
    Story.lose_place: 0.5,
    Story.show_peer: 2,
    Story.change_peer: 2,
    Story.treat_offer: 6,
    Story.tell_old_news: 2,
}


@pytest.mark.parametrize("block", range(4))
def test_laws_hold_in_every_story(block: int) -> None:
    for seed in range(block, STORIES, 4):
        try:
            Story(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_stories_go_where_it_matters() -> None:
    """Else the laws are told of hosts who never got in."""
    stories = [Story(seed) for seed in range(40)]
    for story in stories:
        story.run()
    moved = [s for s in stories if len(s.talk.of(Enter)) > 2 and s.talk.people]
    live = [s for s in stories if any(note.status == "live" for note in s.talk.of(Note))]
    closed = [s for s in stories if s.talk.closed]
    assert len(moved) > 8
    assert len(live) > 12
    assert 4 < len(closed) < 30


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([*METHODS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
REQUEST = st.fixed_dictionaries(
    {"method": st.sampled_from([*METHODS]), "id": st.integers(0, 3)}, optional={"params": JSON}
)


@given(st.lists(st.text(st.characters(codec=None)) | (JSON | REQUEST).map(json.dumps), max_size=6))
@settings(max_examples=100, deadline=None)
def test_no_text_is_too_much_for_it(texts: list[str]) -> None:
    for story in (Talk(), Talk().join()):
        for text in texts:
            story.tell(Received(text))
        story.wait(15)
