"""What a listener loses when a part dies: ``kill -9`` of each, at the heartbeats' TTL of 10 s.

One room with a tone, on two mixers, two Januses and two room managers under one ``up``, which
starts what died again, as systemd would; a dead mixer *host* stays down (``up`` is stopped) until
the room is on air elsewhere. The player is ``chaos.player``, behind a balancer over both room
managers. ``bench.browser`` is the same seen by a real hls.js.
"""

import os
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

import anyio
import httpx
import psutil

from bench.figures import Goal
from bench.stack import Stack
from chaos import tone
from chaos.api import Api
from chaos.player import Moment, Player, playing
from chaos.speaker import Speaker
from cli.leftovers import FFMPEG_MARK
from cli.site import Many
from pkg.errors import OnairError

ROOM, HERTZ = "bench-faults", 440
POLL_SECONDS = 0.1
CALM_SECONDS = 7.0  # before a fault: everything is on air and the player's buffer is steady
AFTER_SECONDS = 8.0  # after the last repair: a gap shows when the buffer has run down to it
RECOVERY_SECONDS = 60.0
EDGE_SECONDS = 0.1  # an encoder's and a decoder's first windows are not full
RUN_SECONDS = 60.0  # one fault, generously
TWO_OF_EACH = Many(mixers=2, januses=2, room_managers=2)


class NotCalmError(OnairError):
    """The private Onair did not come back to rest before the next fault."""


@dataclass(frozen=True, slots=True)
class Case:
    """``lost``: goals for the median and the worst of seconds lost, silent or missing."""

    name: str
    median: Goal
    worst: Goal
    kept_down: bool = False


NOTHING, SHORT = Goal(at_most=0.0), Goal(at_most=5.0)
CASES = (
    Case("mixer daemon", NOTHING, NOTHING),
    Case("FFmpeg", SHORT, SHORT),
    Case("mixer host", Goal(at_most=13.0), Goal(at_most=16.0), kept_down=True),
    Case("Janus", SHORT, SHORT),
    Case("Janus manager", NOTHING, NOTHING),
    Case("room manager", NOTHING, NOTHING),
    Case("etcd", NOTHING, NOTHING),
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Of one fault, seconds. ``toneless``: what the player got, but without the host's tone (of a
    Janus that died it holds the host's own way back: he is told, starts anew, joins).

    ``on_air``: until the status was ``onair`` for good; 0 if it never was anything else.
    """

    silence: float
    toneless: float
    missing: float
    segments: float
    on_air: float
    reloads: int
    wrong: tuple[str, ...]

    @property
    def lost(self) -> float:
        return max(self.silence, self.missing, self.toneless)


class Scene:
    """The room on air, and who looks at it."""

    def __init__(self, stack: Stack, api: Api, public: httpx.AsyncClient) -> None:
        self.stack, self.api = stack, api
        self._public = public
        self._not_on_air_at = 0.0

    def playing(self) -> AbstractAsyncContextManager[Player]:
        return playing(self._public, [f"{base}/hls/{ROOM}/live.m3u8" for base in self.api.bases])

    async def watch(self) -> None:
        """Note when the room was last seen not on air. Until cancelled."""
        while True:
            if await self.status() != "onair":
                self._not_on_air_at = anyio.current_time()
            await anyio.sleep(POLL_SECONDS)

    async def status(self) -> str:
        """``?`` if nobody answers."""
        said = await self.api.ask(f"/rooms/{ROOM}")
        return str(said.body.get("status", "?")) if said else "?"

    def off_air(self, since: float) -> float:
        return max(0.0, self._not_on_air_at - since)

    async def calm(self) -> None:
        """On air, every module healthy, for a while. Raises NotCalmError."""
        with anyio.move_on_after(RECOVERY_SECONDS):
            began = anyio.current_time()
            while anyio.current_time() - began < CALM_SECONDS:
                modules = await self.api.modules()
                good = [m for m in modules if m["health"] == "healthy"]
                if len(good) < self.stack.modules or await self.status() != "onair":
                    began = anyio.current_time()
                await anyio.sleep(POLL_SECONDS)
            return
        raise NotCalmError(f"{ROOM} is {await self.status()}: {await self.api.modules()}")

    async def on_air_again(self) -> None:
        with anyio.fail_after(RECOVERY_SECONDS):
            while await self.status() != "onair":  # noqa: ASYNC110 - REST tells no event
                await anyio.sleep(POLL_SECONDS)

    # -- who dies --------------------------------------------------------------------------

    async def victims(self, case: Case) -> list[int]:
        pids = self.stack.read_pids()
        room = await self.api.ask(f"/rooms/{ROOM}")
        assert room is not None  # noqa: S101 - it is calm
        mixer, janus = (str(room.body[kind]["moduleId"]) for kind in ("mixer", "janus"))
        match case.name:
            case "mixer daemon":
                return [pids[self._part("mixer", mixer)]]
            case "FFmpeg":
                return self._ffmpegs(mixer)
            case "mixer host":
                return [pids[self._part("mixer", mixer)], *self._ffmpegs(mixer)]
            case "Janus":
                return [pids[self._part("janus", janus)]]
            case "Janus manager":
                return [pids[self._part("janus", janus).replace("janus", "janus-manager")]]
            case other:
                return [pids[other.replace(" ", "-")]]

    def _part(self, kind: str, module_id: str) -> str:
        """``mixer-21000-2`` is what runs as ``mixer-2``."""
        return kind + module_id.removeprefix(self.stack.site.module_id(kind))

    def _ffmpegs(self, mixer_id: str) -> list[int]:
        return [
            process.pid
            for process in psutil.process_iter()
            if _environment(process).get(FFMPEG_MARK) == mixer_id
        ]


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


async def measure(
    stack: Stack, runs: int, chosen: str, told: Callable[[], None]
) -> dict[str, list[Loss]]:
    """Case → one Loss a run; the cases take turns. Raises NotCalmError, TimeoutError."""
    cases = [case for case in CASES if chosen in ("all", case.name)]
    found: dict[str, list[Loss]] = {case.name: [] for case in cases}
    async with on_air(stack) as scene:
        for _ in range(runs):
            for case in cases:
                found[case.name].append(await _one(scene, case))
                told()
    return found


@asynccontextmanager
async def on_air(stack: Stack) -> AsyncGenerator[Scene]:
    own = {"Authorization": f"Bearer {stack.api_key}"}
    async with (
        httpx.AsyncClient(headers=own, trust_env=False) as http,
        httpx.AsyncClient(trust_env=False) as public,
        anyio.create_task_group() as tasks,
    ):
        api = Api(stack.site.api_urls, http)
        await api.call("POST", "/rooms", {"roomId": ROOM})
        await api.call("POST", f"/rooms/{ROOM}/start?wait=20")
        scene = Scene(stack, api, public)
        tasks.start_soon(Speaker(api, stack.site.state.path, ROOM, HERTZ).run)
        tasks.start_soon(scene.watch)
        yield scene
        tasks.cancel_scope.cancel()


async def _one(scene: Scene, case: Case) -> Loss:
    await scene.calm()
    async with scene.playing() as player:
        await player.started()
        await anyio.sleep(CALM_SECONDS)
        victims = await scene.victims(case)
        moment = player.now()
        with scene.stack.supervisor_stopped() if case.kept_down else nullcontext():
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            await player.hears_on(player.now(), RECOVERY_SECONDS)
            await scene.on_air_again()
        await anyio.sleep(AFTER_SECONDS)
        return await _loss(scene, player, moment)


async def _loss(scene: Scene, player: Player, moment: Moment) -> Loss:
    told = player.report(moment)
    return Loss(
        silence=told.silence,
        toneless=await _toneless(player, moment),
        missing=told.missing,
        segments=told.missing_segments,
        on_air=scene.off_air(moment.loop),
        reloads=told.reloads,
        wrong=tuple(told.wrong),
    )


async def _toneless(player: Player, moment: Moment) -> float:
    """Of the segments since the fault, run by run: joined, so that no seam is between them."""
    runs: dict[str, bytes] = {}
    for entry, body in player.segments:
        if entry.end is not None and entry.end > moment.wall:
            runs[f"{entry.run}#{entry.seams}"] = runs.get(f"{entry.run}#{entry.seams}", b"") + body
    found = sum([tone.silent_seconds(await tone.decode(run), HERTZ) for run in runs.values()])
    return found if found > len(runs) * EDGE_SECONDS else 0.0
