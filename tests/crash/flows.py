"""The multi-step flows of production, as a user or a fault sets them off; each leaves nothing."""

from collections.abc import Awaitable, Callable, Mapping

from pkg import keys
from pkg.etcd.api import Delete
from pkg.model import Kind
from tests.crash.stage import Stage
from tests.support.stack import until

PATIENCE_SECONDS = 90.0  # for each step, on a busy machine; the whole is judged by the caller

Flow = Callable[[Stage, str], Awaitable[None]]


async def life(stage: Stage, room: str) -> None:
    await stage.put_on_air(room)
    await stage.ask("POST", f"/rooms/{room}/stop")
    await stage.becomes(room, "idle")
    await stage.ask("POST", f"/rooms/{room}/start")
    await stage.becomes(room, "onair")
    await stage.remove(room)


async def ffmpeg_dies(stage: Stage, room: str) -> None:
    await stage.put_on_air(room)
    mixer = await stage.stack.mixer_of(room)
    before = mixer.ffmpegs()[room]
    mixer.kill_ffmpeg(room)

    async def replaced() -> bool:
        return mixer.ffmpegs().get(room, before) != before

    await until(replaced, within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    await stage.remove(room)


async def restart(stage: Stage, room: str) -> None:
    """All daemons of the kind, at once."""
    await stage.put_on_air(room)
    stage.kill_all()
    await until(stage.is_up_again, within=PATIENCE_SECONDS)
    await until(_all_up(stage), within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    await stage.remove(room)


async def upgrade(stage: Stage, room: str) -> None:
    """SIGTERM to the kind; for room managers also: another one keeps house then."""
    await stage.put_on_air(room)
    await until(stage.is_house_kept, within=PATIENCE_SECONDS)
    before = await stage.housekeeper()
    stage.end_all()
    await until(stage.is_up_again, within=PATIENCE_SECONDS)

    async def led() -> bool:
        return await stage.housekeeper() not in (None, before)

    if stage.kind == "room-manager":
        await until(led, within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    await stage.remove(room)


async def place_is_lost(stage: Stage, room: str) -> None:
    """Somebody deletes the key of its place; two sweeps later it is there again."""
    await stage.put_on_air(room)
    live = await stage.stack.live(room)
    key = keys.slot(Kind.MIXER, live.mixer_id, live.mixer_slot)
    await stage.stack.etcd.txn([], [Delete(key)])

    async def back() -> bool:
        return await stage.stack.etcd.get(key) is not None

    await until(back, within=120.0)
    await stage.becomes(room, "onair")
    await stage.remove(room)


def _all_up(stage: Stage) -> Callable[[], Awaitable[bool]]:
    async def up() -> bool:
        modules = (await stage.ask("GET", "/modules")).json()["modules"]
        return all(module["health"] == "healthy" for module in modules)

    return up


async def mixer_is_lost(stage: Stage, room: str) -> None:
    await stage.put_on_air(room)
    lost = await stage.stack.mixer_of(room)
    stage.hold_down(lost)
    lost.kill_host()

    async def moved() -> bool:
        return (await stage.stack.live(room)).mixer_id != lost.module_id

    await until(moved, within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    stage.let_up(lost)
    if not lost.is_running():
        lost.start()
    await stage.remove(room)
    await until(_all_up(stage), within=PATIENCE_SECONDS)


async def janus_is_lost(stage: Stage, room: str) -> None:
    """With its manager, which does not come to tell of it."""
    await stage.put_on_air(room)
    lost = await stage.stack.janus_of(room)
    stage.hold_down(lost.manager)
    lost.manager.kill()
    lost.janus.kill()

    async def moved() -> bool:
        return (await stage.stack.live(room)).janus_id != lost.module_id

    await until(moved, within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    stage.let_up(lost.manager)
    lost.janus.start()
    if not lost.manager.is_running():
        lost.manager.start()
    await stage.remove(room)
    await until(_all_up(stage), within=PATIENCE_SECONDS)


async def janus_stays_away(stage: Stage, room: str) -> None:
    """Its manager lives, says so, and gives the place back once it can."""
    await stage.put_on_air(room)
    lost = await stage.stack.janus_of(room)
    lost.janus.kill()

    async def moved() -> bool:
        return (await stage.stack.live(room)).janus_id != lost.module_id

    await until(moved, within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    lost.janus.start()
    await until(_all_up(stage), within=PATIENCE_SECONDS)
    await until(_gave_back(stage, lost.module_id), within=PATIENCE_SECONDS)
    await stage.remove(room)


def _gave_back(stage: Stage, module_id: str) -> Callable[[], Awaitable[bool]]:
    async def empty() -> bool:
        modules = (await stage.ask("GET", "/modules")).json()["modules"]
        return all(m["used"] == 0 for m in modules if m["moduleId"] == module_id)

    return empty


async def janus_hangs(stage: Stage, room: str) -> None:
    """Long enough to be told of, too short for the room to be taken away."""
    await stage.put_on_air(room)
    host = await stage.stack.janus_of(room)
    host.janus.pause()
    try:
        await until(_told_ill(stage, host.module_id), within=60.0)
    finally:
        host.janus.resume()
    await until(_all_up(stage), within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    await stage.remove(room)


def _told_ill(stage: Stage, module_id: str) -> Callable[[], Awaitable[bool]]:
    async def ill() -> bool:
        modules = (await stage.ask("GET", "/modules")).json()["modules"]
        return any(m["moduleId"] == module_id and m["health"] != "healthy" for m in modules)

    return ill


async def drain(stage: Stage, room: str) -> None:
    """Make before break; ended while the old mixer is still heard."""
    await _drain(stage, room, to_the_end=False)


async def drain_to_the_end(stage: Stage, room: str) -> None:
    """Until the old mixer is let go (its window of 30 s has passed)."""
    await _drain(stage, room, to_the_end=True)


async def _drain(stage: Stage, room: str, *, to_the_end: bool) -> None:
    await stage.put_on_air(room)
    left = (await stage.stack.mixer_of(room)).module_id
    await stage.ask("PUT", f"/modules/mixer/{left}/mark", json={"mark": "draining"})

    async def moved() -> bool:
        live = await stage.stack.live(room)
        return live.mixer_id != left and (live.previous is None or not to_the_end)

    await until(moved, within=PATIENCE_SECONDS)
    await stage.becomes(room, "onair")
    await stage.ask("PUT", f"/modules/mixer/{left}/mark", json={"mark": "ready"})
    await stage.remove(room)


FLOWS: Mapping[str, Flow] = {
    flow.__name__: flow
    for flow in (
        life,
        restart,
        upgrade,
        place_is_lost,
        ffmpeg_dies,
        mixer_is_lost,
        janus_is_lost,
        janus_stays_away,
        janus_hangs,
        drain,
        drain_to_the_end,
    )
}
