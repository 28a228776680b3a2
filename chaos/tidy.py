"""Before and after a run: is this ``up`` fit for it, and is nothing left of our rooms?"""

from collections.abc import Iterator

import anyio

from chaos import judge
from chaos.lists import Lists
from chaos.scene import Scene
from pkg.errors import ConfigError, OnairError

CALM_SECONDS = 30.0
GONE_SECONDS = 60.0
POLL_SECONDS = 0.25
LOOK_SECONDS = 10.0
CALM_LOOKS = 2  # in a row
SHOWN = 5
NOT_SEEN = "nothing was seen in time"


async def clear(scene: Scene) -> None:
    """Delete what an earlier run that was killed left. Raises ConfigError if that cannot be."""
    left = await end(scene)
    if left:
        raise ConfigError(f"rooms of an earlier run cannot be deleted: {'; '.join(left[:SHOWN])}")


async def fit(scene: Scene, rooms: int) -> None:
    """Raises ConfigError if the fleet is not well, has too few places, or its lists disagree."""
    fleet = await scene.api.modules()
    for kind in ("janus", "mixer"):
        free = sum(m["capacity"] - m["used"] for m in fleet if _takes_rooms(m, kind))
        if free < rooms:
            raise ConfigError(f"{rooms} rooms are wanted, {kind} has {free} places: use --rooms")
    findings = await settle(scene, CALM_SECONDS)
    if findings:
        raise ConfigError(
            f"this Onair is not in order to begin with: {'; '.join(findings[:SHOWN])}"
        )


def _takes_rooms(module: dict[str, object], kind: str) -> bool:
    return (module["kind"], module["health"], module["mark"]) == (kind, "healthy", "ready")


async def settle(scene: Scene, within: float) -> list[str]:
    """Wait until two looks in a row find nothing wrong; else what the last one found."""
    calm, wrong = 0, [NOT_SEEN]
    with anyio.move_on_after(within):
        while calm < CALM_LOOKS:
            wrong = await _judged(scene)
            calm = 0 if wrong else calm + 1
            await anyio.sleep(POLL_SECONDS)
    return wrong


async def _judged(scene: Scene) -> list[str]:
    lists = await _look(scene)
    return [lists] if isinstance(lists, str) else scene.ours(judge.settled(lists))


async def _look(scene: Scene) -> Lists | str:
    """In words why not, if there is nothing to be seen."""
    with anyio.move_on_after(LOOK_SECONDS):
        try:
            return await scene.witness.look()
        except OnairError as error:
            return f"etcd does not answer: {error}"
    return f"etcd, Janus and the processes cannot all be listed in {LOOK_SECONDS:g} s"


async def end(scene: Scene) -> list[str]:
    """Delete our rooms; what is left of them after a minute, in words."""
    left = [NOT_SEEN]
    with anyio.move_on_after(GONE_SECONDS):
        while left:
            await _delete(scene)
            lists = await _look(scene)
            left = [lists] if isinstance(lists, str) else leftovers(lists, scene.prefix)
            await anyio.sleep(POLL_SECONDS if left else 0)
    return left


async def _delete(scene: Scene) -> None:
    for room in await scene.api.rooms(scene.prefix) or ():
        if await scene.api.call("DELETE", f"/rooms/{room}"):
            scene.promises.noted(room, "delete", 202)


def leftovers(lists: Lists, prefix: str) -> list[str]:
    """Every trace of our rooms, anywhere (I7)."""
    keys = [key for key in lists.keys if any(p.startswith(prefix) for p in key.split("/"))]
    found = [(room, what) for room, what in _traces(lists) if room.startswith(prefix)]
    return [f"I7 key {key}" for key in keys] + [f"I7 {room}: {what}" for room, what in found]


def _traces(lists: Lists) -> Iterator[tuple[str, str]]:
    """Room → what there is of it, besides keys of its own."""
    for _, module, number, slot in lists.slots():
        yield slot.room_id, f"slot {number} of {module}"
    for process in lists.processes:
        yield process.room, f"FFmpeg {process.pid}"
    for bridge in lists.bridges:
        yield bridge.room or "", f"AudioBridge room {bridge.number} in {bridge.janus_id}"
    for folder in lists.folders:
        yield folder.room, f"folder of epoch {folder.epoch} at {folder.mixer_id}"
