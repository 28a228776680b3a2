"""Everybody in the AudioBridge room, as Janus tells it, made into what a session is to hear.

Pure; ``janus`` keeps one for each time we enter. Janus says neither that a handle of ours took the
place of another, nor that somebody who talks was muted, and it repeats what has not changed.
"""

from collections.abc import Iterable
from dataclasses import replace

from wsgateway.exchange import Event, Peer, PeerLeft, PeersSeen, PlaceLost, Talking
from wsgateway.messages import Joined


class Crowd:
    """Ourselves are called by the id that we had first, whatever our handle's is by now."""

    def __init__(self, attempt: int, user_id: str, joined: Joined, *, muted: bool) -> None:
        self._attempt = attempt
        self._own_id = joined.participant_id
        self._own = Peer(joined.participant_id, user_id, muted=muted)
        self._others: dict[int, Peer] = {}
        self._take(joined.peers)

    @property
    def own_id(self) -> int:
        return self._own.participant_id

    def others(self) -> tuple[Peer, ...]:
        return tuple(map(_visible, self._others.values()))

    def rejoined(self, joined: Joined) -> tuple[Event, ...]:
        """We are there anew: what changed meanwhile."""
        self._own_id, self._own = joined.participant_id, replace(self._own, talking=False)
        before = self._others
        self._others = {}
        self._take(joined.peers)
        gone = tuple(PeerLeft(self._attempt, i) for i in before if i not in self._others)
        return gone + self._news(before, self._others.values())

    def mute(self, *, muted: bool) -> tuple[Event, ...]:
        """Ourselves: Janus tells the others only."""
        return self._change_own(replace(self._own, muted=muted))

    def hear(self, event: Event) -> tuple[Event, ...]:
        """What is left to be told of an event of Janus's."""
        match event:
            case PeersSeen(peers=peers):
                before = dict(self._others)
                self._take(replace(p, talking=self._talks(p.participant_id)) for p in peers)
                return self._news(before, (self._others.get(p.participant_id) for p in peers))
            case PeerLeft(participant_id=left) if left == self._own_id:
                return (PlaceLost(self._attempt, "put out of the AudioBridge room"),)
            case PeerLeft(participant_id=left):
                return (event,) if self._others.pop(left, None) else ()
            case Talking():
                return self._hear_talking(event)
            case _:
                return (event,)

    def _hear_talking(self, event: Talking) -> tuple[Event, ...]:
        if event.participant_id == self._own_id:
            return self._change_own(replace(self._own, talking=event.talking))
        former = self._others.get(event.participant_id)
        if former is None:
            return ()
        peer = self._others[event.participant_id] = replace(former, talking=event.talking)
        return (event,) if _visible(peer) != _visible(former) else ()

    def _change_own(self, own: Peer) -> tuple[Event, ...]:
        former, self._own = _visible(self._own), own
        talking = _visible(own).talking
        if talking == former.talking:
            return ()
        return (Talking(self._attempt, self.own_id, talking),)

    def _take(self, peers: Iterable[Peer]) -> None:
        """But for our own user's: a former handle's, or a stale one that is being put out."""
        for peer in peers:
            if peer.user_id != self._own.user_id and peer.participant_id != self._own_id:
                self._others[peer.participant_id] = peer

    def _talks(self, participant_id: int) -> bool:
        known = self._others.get(participant_id)
        return known is not None and known.talking

    def _news(self, before: dict[int, Peer], now: Iterable[Peer | None]) -> tuple[Event, ...]:
        changed = tuple(
            _visible(peer)
            for peer in now
            if peer is not None and _differs(before.get(peer.participant_id), peer)
        )
        return (PeersSeen(self._attempt, changed),) if changed else ()


def _differs(former: Peer | None, peer: Peer) -> bool:
    return former is None or _visible(former) != _visible(peer)


def _visible(peer: Peer) -> Peer:
    """
    >>> _visible(Peer(1, "ann", muted=True, talking=True)).talking
    False
    """
    return replace(peer, talking=peer.talking and not peer.muted)
