"""A Janus as gateways see it, in memory: ``wsgateway.api.AudioBridge`` for each of any hosts.

Passes the same contract as the real one (tests/contract/test_gateway_janus.py). Time is anyio's.
Media comes up when the test says so (``connect``): in life it waits for the client.
"""

import itertools
from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel

from wsgateway.api import Tell
from wsgateway.exchange import (
    Answered,
    Enter,
    Entered,
    EntryFailed,
    Event,
    MediaLost,
    MediaUp,
    Offer,
    OfferFailed,
    Peer,
    PeerLeft,
    PeersSeen,
    Place,
    PlaceLost,
    Refusal,
    SetMuted,
    Talking,
    Trickle,
)

DEADLINE_SECONDS = 3.0
ANSWER = "v=0\r\ns=fake answer\r\n"


@dataclass
class FakeRoom:
    pin: str
    secret: str
    peers: dict[int, Peer] = field(default_factory=dict)
    bridges: dict[int, "FakeBridge"] = field(default_factory=dict)


class FakeAudioBridges:
    """``rooms`` is what this Janus holds. ``bridge`` is what a gateway makes its bridges with.

    ``frozen``: nothing answers, until the deadline; ``refuses``: words for every offer.
    """

    def __init__(self, url: str = "ws://fake") -> None:
        self.url = url
        self.rooms: dict[int, FakeRoom] = {}
        self.frozen = False
        self.refuses: str | None = None
        self.candidates: list[Trickle] = []
        self._up = True
        self.ids = itertools.count(1)

    def bridge(self, tell: Tell) -> "FakeBridge":
        return FakeBridge(self, tell)

    # --- what a test does to it ---

    def create(self, place: Place) -> None:
        self.rooms[place.number] = FakeRoom(place.pin, place.secret)

    def destroy(self, number: int) -> None:
        for bridge in tuple(self.rooms.pop(number).bridges.values()):
            bridge.lose("the room was destroyed")

    def kill(self) -> None:
        self._up = False
        for number in tuple(self.rooms):
            self.destroy(number)

    def start(self) -> None:
        self._up = True

    def add_stranger(self, number: int, display: str) -> int:
        """Somebody whom no gateway let in."""
        participant = next(self.ids)
        self.seen(number, Peer(participant, f"janus-{participant}", display))
        return participant

    def connect(self, number: int, user_id: str) -> None:
        """His WebRTC is up."""
        bridge = self._bridge_of(number, user_id)
        bridge.hear(MediaUp(bridge.offered or 0))
        self._update(number, user_id, live=True)

    def hang_up(self, number: int, user_id: str) -> None:
        """His WebRTC broke; the bridge sees to it that he is still in the room."""
        bridge = self._bridge_of(number, user_id)
        bridge.hear(MediaLost(bridge.offered or 0, "DTLS alert"))
        self._update(number, user_id, live=False)

    def talk(self, number: int, user_id: str, *, talking: bool = True) -> None:
        for bridge in self.rooms[number].bridges.values():
            bridge.hear(Talking(bridge.attempt, self._peer(number, user_id), talking))

    def _update(self, number: int, user_id: str, *, live: bool) -> None:
        peer = self.rooms[number].peers[self._peer(number, user_id)]
        self.seen(number, replace(peer, live=live))

    def _peer(self, number: int, user_id: str) -> int:
        peers = self.rooms[number].peers.values()
        return next(peer.participant_id for peer in peers if peer.user_id == user_id)

    def _bridge_of(self, number: int, user_id: str) -> "FakeBridge":
        return self.rooms[number].bridges[self._peer(number, user_id)]

    # --- what bridges do with it ---

    def seen(self, number: int, peer: Peer) -> None:
        room = self.rooms[number]
        room.peers[peer.participant_id] = peer
        for participant, bridge in room.bridges.items():
            if participant != peer.participant_id:
                bridge.hear(PeersSeen(bridge.attempt, (peer,)))

    def left(self, number: int, participant: int) -> None:
        room = self.rooms.get(number)
        if room is None or room.peers.pop(participant, None) is None:
            return
        room.bridges.pop(participant, None)
        for bridge in room.bridges.values():
            bridge.hear(PeerLeft(bridge.attempt, participant))

    async def reach(self) -> str | None:
        """Why not; None if it answers."""
        if not self._up:
            return f"{self.url} cannot be reached"
        if self.frozen:
            await anyio.sleep(DEADLINE_SECONDS)
            return f"Janus did not answer within {DEADLINE_SECONDS} s"
        await anyio.lowlevel.checkpoint()
        return None


class FakeBridge:
    """One host's."""

    def __init__(self, janus: FakeAudioBridges, tell: Tell) -> None:
        self.attempt = 0
        self.offered: int | None = None
        self._janus = janus
        self._tell = tell
        self._place: Place | None = None
        self._own = Peer(0, "")

    async def enter(self, effect: Enter) -> Entered | EntryFailed:
        await self.exit()
        why = await self._janus.reach()
        if why is not None:
            return EntryFailed(effect.attempt, Refusal.UNAVAILABLE, why)
        room = self._janus.rooms.get(effect.place.number)
        if room is None or effect.place.url != self._janus.url:
            return EntryFailed(effect.attempt, Refusal.NO_ROOM, "No such room")
        if room.pin != effect.place.pin:
            return EntryFailed(effect.attempt, Refusal.REFUSED, "Unauthorized (wrong pin)")
        if any(p.user_id == effect.user_id and p.fence > effect.fence for p in room.peers.values()):
            return EntryFailed(effect.attempt, Refusal.UNAVAILABLE, "came by another connection")
        self._put_out_stale(room, effect)
        return self._begin(room, effect)

    def _put_out_stale(self, room: FakeRoom, effect: Enter) -> None:
        stale = [i for i, peer in room.peers.items() if peer.user_id == effect.user_id]
        for participant in stale if room.secret == effect.place.secret else []:
            bridge = room.bridges.pop(participant, None)
            self._janus.left(effect.place.number, participant)
            if bridge is not None:
                bridge.lose("put out of the room")

    def _begin(self, room: FakeRoom, effect: Enter) -> Entered:
        self.attempt, self.offered, self._place = effect.attempt, None, effect.place
        own = Peer(
            next(self._janus.ids),
            effect.user_id,
            effect.display,
            effect.muted,
            fence=effect.fence,
        )
        others = tuple(peer for peer in room.peers.values() if peer.user_id != effect.user_id)
        self._own, room.bridges[own.participant_id] = own, self
        self._janus.seen(effect.place.number, own)
        return Entered(effect.attempt, own.participant_id, others)

    async def offer(self, effect: Offer) -> Answered | OfferFailed:
        if self._place is None:
            return OfferFailed(effect.offer, Refusal.UNAVAILABLE, "not in the room")
        why = await self._janus.reach()
        if why is not None:
            return OfferFailed(effect.offer, Refusal.UNAVAILABLE, why)
        self.offered = effect.offer
        if self._janus.refuses is not None:
            return OfferFailed(effect.offer, Refusal.REFUSED, self._janus.refuses)
        return Answered(effect.offer, ANSWER, self._own.participant_id)

    async def trickle(self, effect: Trickle) -> None:
        if self._place is not None and effect.offer == self.offered:
            self._janus.candidates.append(effect)

    async def set_muted(self, effect: SetMuted) -> None:
        if self._place is None:
            return
        if await self._janus.reach() is not None:
            self.lose("Janus did not answer")
            return
        number = self._place.number
        known = self._janus.rooms[number].peers[self._own.participant_id]
        self._janus.seen(number, replace(known, muted=effect.muted))

    async def exit(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            self._janus.left(place.number, self._own.participant_id)

    def lose(self, words: str) -> None:
        if self._place is not None:
            self._place = None
            self._tell(PlaceLost(self.attempt, words))

    def hear(self, event: Event) -> None:
        if self._place is not None:
            self._tell(event)
