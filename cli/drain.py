"""How far a drain is, in words: ``./onair modules drain`` follows it with these.

All of it is read from REST each time; whoever looks, and from where, changes nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from cli import rooms
from cli.client import Client
from pkg.errors import OnairError

LOOK_SECONDS = 1.0
SHOWN = 5  # rooms named at most


class DrainError(OnairError):
    """The drain was taken back, or the module is unknown."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``left``: rooms still placed there; ``held``: its places that are taken, those of rooms in
    transit among them; ``waits``: why the next one cannot move, if it cannot."""

    left: tuple[str, ...]
    held: int
    moving: tuple[str, ...] = ()
    waits: str | None = None

    @property
    def done(self) -> bool:
        return not self.left and not self.held


def line(progress: Progress, most: int) -> str:
    """
    >>> line(Progress(("blue", "red"), 3, ("amber",)), 10)
    '2 of 10 rooms left (blue, red); amber is moving'
    >>> line(Progress(("blue",), 1, waits="no other mixer can take a room"), 1)
    '1 of 1 room left (blue); waits: no other mixer can take a room'
    >>> line(Progress((), 1), 10)
    '0 of 10 rooms left; 1 place is still being cleared'
    """
    said = f"{len(progress.left)} of {_rooms(most)} left"
    if progress.left:
        said += f" ({_names(progress.left)})"
    clearing = progress.held - len(progress.left) - len(progress.moving)
    if progress.moving:
        verb = "is" if len(progress.moving) == 1 else "are"
        said += f"; {_names(progress.moving)} {verb} moving"
    elif clearing > 0:
        said += (
            f"; {_count(clearing, 'place')} {'is' if clearing == 1 else 'are'} still being cleared"
        )
    return said + (f"; waits: {progress.waits}" if progress.waits else "")


def _why(fleet: Sequence[Mapping[str, Any]], module: Mapping[str, Any]) -> str | None:
    if module["kind"] != "janus":
        return waits(fleet, module["kind"], module["moduleId"])
    at = str(module.get("deadlineAt") or "")
    return "rooms end by themselves" + (f", or move at {at[11:19]} UTC" if at else "")


def waits(fleet: Sequence[Mapping[str, Any]], kind: str, module_id: str) -> str | None:
    """Why no room can leave this module just now; None if another one can take it.

    >>> full = {"kind": "mixer", "moduleId": "m2", "health": "healthy", "mark": "ready"}
    >>> waits([full | {"used": 4, "capacity": 4}], "mixer", "m1")
    'no other mixer can take a room: m2 is full (4/4)'
    >>> waits([full | {"used": 3, "capacity": 4}], "mixer", "m1") is None
    True
    """
    others = [m for m in fleet if m["kind"] == kind and m["moduleId"] != module_id]
    refusals = [_refusal(module) for module in others]
    if None in refusals:
        return None
    told = ", ".join(f"{m['moduleId']} {why}" for m, why in zip(others, refusals, strict=True))
    return f"no other {kind} can take a room: {told or 'there is no other'}"


def _refusal(module: Mapping[str, Any]) -> str | None:
    if module["health"] != "healthy":
        return f"is {module['health']}"
    if module["mark"] != "ready":
        return f"is {module['mark']}"
    if module["used"] >= module["capacity"]:
        return f"is full ({module['used']}/{module['capacity']})"
    return None


def look(client: Client, kind: str, module_id: str, before: Progress | None) -> Progress:
    """Raises DrainError if the module is not draining any more, or not there."""
    fleet = client.call("GET", "/api/modules")["modules"]
    found = [m for m in fleet if (m["kind"], m["moduleId"]) == (kind, module_id)]
    if not found:
        return Progress((), 0)  # gone, and with it every place
    if found[0]["mark"] != "draining":
        raise DrainError(
            f"{kind}/{module_id} is marked {found[0]['mark']} by somebody else: "
            f"{_rooms(found[0]['used'])} stay"
        )
    placed = tuple(
        room["roomId"]
        for room in rooms.every_room(client)
        if (room.get(kind) or {}).get("moduleId") == module_id
    )
    left_since = [r for r in (before.left + before.moving if before else ()) if r not in placed]
    return Progress(
        left=placed,
        held=found[0]["used"],
        moving=tuple(r for r in left_since if _in_transit(client, r, module_id)),
        waits=_why(fleet, found[0]) if placed else None,
    )


def _in_transit(client: Client, room_id: str, module_id: str) -> bool:
    """It has a new place, and its listeners may still hear the old one."""
    try:
        told = client.call("GET", f"/api/rooms/{room_id}/explain")
    except OnairError:  # deleted meanwhile
        return False
    return ((told.get("desired") or {}).get("previous") or {}).get("mixerId") == module_id


def follow(client: Client, console: Console, kind: str, module_id: str) -> float:
    """Show how far it is until it is done; answers the seconds it took. Raises DrainError."""
    began = time.monotonic()
    progress = look(client, kind, module_id, None)
    most = len(progress.left)
    with console.status(line(progress, most)) as status:
        while not progress.done:
            time.sleep(LOOK_SECONDS)
            progress = look(client, kind, module_id, progress)
            most = max(most, len(progress.left))
            status.update(line(progress, most))
    return time.monotonic() - began


def _names(found: Sequence[str]) -> str:
    more = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _rooms(many: int) -> str:
    return _count(many, "room")


def _count(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"
