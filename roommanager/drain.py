"""Which room leaves a draining mixer next: one by one, the smallest id first."""

from collections.abc import Callable
from typing import TypeAlias

from pkg.informer import UndecodableError
from pkg.model import Desired, LiveMeta, ModuleId, RoomId
from roommanager.view import View

Asked: TypeAlias = Callable[[LiveMeta], bool]


def next_to_leave(
    view: View, rooms: set[RoomId], mixer_id: ModuleId, in_transit: Asked, can_follow: Asked
) -> RoomId | None:
    """Of the rooms that hold places on the mixer; None while another one is on its way.

    ``can_follow``: somebody is there to have the room's mix sent to another mixer. Walks over all
    of them, so that no record of who is next can be lost or be wrong.
    """
    first = None
    for room_id in sorted(rooms):
        live = _live(view, room_id)
        if live is None or live.status is not Desired.ONAIR:
            continue
        if live.previous is not None and live.previous.mixer_id == mixer_id and in_transit(live):
            return None
        stays = live.mixer_id == mixer_id and live.previous is None
        if first is None and stays and can_follow(live):
            first = room_id
    return first


def _live(view: View, room_id: RoomId) -> LiveMeta | None:
    """None for one that cannot be read: it must not hold up the others."""
    try:
        return view.live(room_id)
    except UndecodableError:
        return None
