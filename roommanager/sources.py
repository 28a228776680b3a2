"""A room's time on air as etcd tells it now: which mixers hold it, and whether it is over.

The address that listeners use never changes; ``hls`` resolves it through this, each time anew.
"""

from dataclasses import dataclass

from pkg.errors import OnairError
from pkg.model import Desired, Epoch, Kind, LiveMeta, RoomId
from roommanager.addresses import is_address
from roommanager.facts import RoomFacts
from roommanager.view import View


class NotOnAirError(OnairError):
    """There is nothing to play under this address."""


class NotYetError(OnairError):
    """The room is starting, or its origin does not answer: ask again in a second."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one epoch of a room can be fetched. ``seams``: as in ``LiveMeta``."""

    room_id: RoomId
    nonce: str
    epoch: Epoch
    origin: str
    seams: int = 0

    @property
    def url(self) -> str:
        return f"{self.origin}/{self.room_id}/{self.epoch}"


@dataclass(frozen=True, slots=True)
class Air:
    """``epoch`` is the one assigned; ``present`` its source, None until its mixer took the room.

    ``previous``: the source it takes over from, make-before-break. ``heard``: it was on air once.
    """

    room_id: RoomId
    nonce: str
    epoch: Epoch
    present: Source | None
    previous: Source | None = None
    heard: bool = False
    ended: bool = False

    def source(self, epoch: int) -> Source | None:
        found = (s for s in (self.present, self.previous) if s and s.epoch == epoch)
        return next(found, None)

    def since(self, epoch: int) -> list[Source]:
        """The sources of this epoch and later ones, newest first."""
        return [s for s in (self.present, self.previous) if s and s.epoch >= epoch]


def on_air(view: View, facts: RoomFacts) -> Air:
    """Raises NotOnAirError."""
    live = facts.live
    if live is not None and live.status is Desired.REMOVING:
        raise NotOnAirError(f"room {facts.room_id} is being removed")
    if live is not None:
        return _live(view, facts, live)
    ended = view.ended(facts.room_id)
    if ended is None:
        raise NotOnAirError(f"room {facts.room_id} is not on air")
    source = Source(facts.room_id, ended.nonce, ended.epoch, ended.origin, ended.seams)
    present = source if is_address(ended.origin) else None
    return Air(facts.room_id, ended.nonce, ended.epoch, present, ended=True)


def _live(view: View, facts: RoomFacts, live: LiveMeta) -> Air:
    before = live.previous
    previous = None
    if before is not None and before.endpoints.origin and is_address(before.endpoints.origin):
        previous = Source(
            facts.room_id, live.nonce, before.epoch, before.endpoints.origin, before.seams
        )
    return Air(
        room_id=facts.room_id,
        nonce=live.nonce,
        epoch=live.mixer_epoch,
        present=_present(view, facts, live),
        previous=previous,
        heard=live.on_air_at is not None,
        ended=live.status is Desired.STOPPING,
    )


def _present(view: View, facts: RoomFacts, live: LiveMeta) -> Source | None:
    mixer, origin = facts.mixer, None
    if mixer is not None and mixer.epoch == live.mixer_epoch:
        origin = mixer.endpoints.origin
    if not origin and live.status is Desired.STOPPING:  # its mixer may have taken its key back
        module = view.fleet.get(Kind.MIXER, live.mixer_id)
        origin = module.heartbeat.endpoints.origin if module and module.heartbeat else None
    if not origin or not is_address(origin):
        return None
    return Source(facts.room_id, live.nonce, live.mixer_epoch, origin, live.seams)
