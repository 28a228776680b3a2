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
    ``origins``: of the mixers it is known to be or have been on. ``began``: no epoch of this time
    on air is lower.
    """

    room_id: RoomId
    nonce: str
    epoch: Epoch
    present: Source | None
    previous: Source | None = None
    heard: bool = False
    ended: bool = False
    origins: tuple[str, ...] = ()
    began: int = 0

    def having(self, epoch: int) -> list[Source]:
        """Who may still have the segments of this epoch: a mixer keeps those of an earlier one
        for as long as players may ask (``mixer.plan``), also if it has the room anew."""
        for source in (self.present, self.previous):
            if source is not None and source.epoch == epoch:
                return [source]
        if not self.began <= epoch < self.epoch:
            return []
        return [Source(self.room_id, self.nonce, Epoch(epoch), at) for at in self.origins]

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
    origins = _addresses(ended.origin)
    return Air(facts.room_id, ended.nonce, ended.epoch, present, ended=True, origins=origins)


def _live(view: View, facts: RoomFacts, live: LiveMeta) -> Air:
    before = live.previous
    old = before.endpoints.origin if before is not None else None
    previous = None
    if before is not None and old and is_address(old):
        previous = Source(facts.room_id, live.nonce, before.epoch, old, before.seams)
    told = facts.mixer.endpoints.origin if facts.mixer is not None else None
    return Air(
        room_id=facts.room_id,
        nonce=live.nonce,
        epoch=live.mixer_epoch,
        present=_present(view, facts, live),
        previous=previous,
        heard=live.on_air_at is not None,
        ended=live.status is Desired.STOPPING,
        origins=_addresses(told, _registered(view, live), old),
        began=facts.meta_revision,  # written when a time on air ends, see ``execute.finish_stop``
    )


def _addresses(*origins: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(o for o in origins if o and is_address(o)))


def _registered(view: View, live: LiveMeta) -> str | None:
    """The origin that the assigned mixer's heartbeat names."""
    module = view.fleet.get(Kind.MIXER, live.mixer_id)
    return module.heartbeat.endpoints.origin if module and module.heartbeat else None


def _present(view: View, facts: RoomFacts, live: LiveMeta) -> Source | None:
    mixer, origin = facts.mixer, None
    if mixer is not None and mixer.epoch == live.mixer_epoch:
        origin = mixer.endpoints.origin
    if not origin and live.status is Desired.STOPPING:  # its mixer may have taken its key back
        origin = _registered(view, live)
    if not origin or not is_address(origin):
        return None
    return Source(facts.room_id, live.nonce, live.mixer_epoch, origin, live.seams)
