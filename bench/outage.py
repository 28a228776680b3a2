"""What rooms lose when etcd is away: paused for longer than every lease, then stopped for minutes.

Two mixers, two Januses and two room managers under one ``up``, which is stopped itself meanwhile,
so that nothing starts etcd again. Some rooms have a player; the API is asked all the while.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
import httpx

from bench.crowd import Crowd, Heard, gathered
from bench.idle import DELETES, KEYS, total
from bench.stack import Stack

LISTENED = 4  # rooms with a player
IDLE = "out-idle"  # exists, and is asked to start while etcd is away
ASK_SECONDS = 1.0
POLL_SECONDS = 0.05
RECOVERY_SECONDS = 60.0
LATE_SECONDS = 25.0  # after the recovery: whoever wanted to move a room would have done it
CALLS: Mapping[str, tuple[str, str]] = {
    "playlist": ("GET", "/hls/out-0/live.m3u8"),
    "liveness": ("GET", "/healthz"),
    "readiness": ("GET", "/readyz"),
    "read a room": ("GET", "/api/rooms/out-0"),
    "start a room": ("POST", f"/api/rooms/{IDLE}/start"),
}


@dataclass
class Asker:
    """Asks the API each second; keeps what it was told (``none``: no answer) and how slowly."""

    answers: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)

    async def run(self, crowd: Crowd) -> None:
        """Until cancelled. One room manager after the other."""
        async with anyio.create_task_group() as tasks:
            for name in CALLS:
                tasks.start_soon(self._keep_asking, crowd, name)

    async def _keep_asking(self, crowd: Crowd, name: str) -> None:
        method, path = CALLS[name]
        http = crowd.public if path.startswith("/hls") else crowd.api.http
        told = self.answers.setdefault(name, Counter())
        asked = 0
        while True:
            began = anyio.current_time()
            base, asked = crowd.api.bases[asked % len(crowd.api.bases)], asked + 1
            try:
                answer = await http.request(method, f"{base}{path}", timeout=10)
                told[str(answer.status_code)] += 1
            except httpx.HTTPError:
                told["none"] += 1
            took = anyio.current_time() - began
            self.slowest[name] = max(took, self.slowest.get(name, 0.0))
            await anyio.sleep_until(began + max(ASK_SECONDS, took))


@dataclass(frozen=True, slots=True)
class Cost:
    """``lost``: rooms not on air afterwards; ``moved``: on another epoch; ``restarted``: with
    another FFmpeg; ``died``: daemons with another pid. Seconds: ``answering`` from etcd's start
    (or its going on) to its first answer, ``healthy`` from there until all is well. ``writes``:
    keys that etcd changed until then."""

    name: str
    away: float
    rooms: int
    lost: int
    moved: int
    restarted: int
    died: int
    answering: float
    healthy: float
    writes: float
    heard: Heard
    asker: Asker


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    """SIGKILL; ``up`` starts it again afterwards."""
    with stack.supervisor_stopped():
        os.kill(stack.read_pids()["etcd"], signal.SIGKILL)
        yield


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    pid = stack.read_pids()["etcd"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def measure(
    stack: Stack, rooms: int, pause: float, stop: float, told: Callable[[], None]
) -> list[Cost]:
    """``pause``, ``stop``: seconds, 0 for none; ``told`` once a second of absence."""
    found = []
    async with gathered(stack, [f"out-{n}" for n in range(rooms)], LISTENED) as crowd:
        await crowd.must("POST", "/rooms", {"roomId": IDLE})
        if pause:
            found.append(await _one(crowd, "paused", pause, told))
        if stop:
            found.append(await _one(crowd, "stopped", stop, told))
    return found


async def _one(crowd: Crowd, name: str, seconds: float, told: Callable[[], None]) -> Cost:
    stack, asker = crowd.stack, Asker()
    placed, ffmpegs, pids = await crowd.look(), crowd.ffmpegs(crowd.mixers), stack.read_pids()
    written = await _written(stack) if name == "paused" else 0.0  # a new etcd counts anew
    moment = next(iter(crowd.players.values())).now()
    with {"paused": paused, "stopped": stopped}[name](stack):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asker.run, crowd)
            for _ in range(round(seconds)):
                await anyio.sleep(1.0)
                told()
            tasks.cancel_scope.cancel()
    answering, healthy = await _recovery(crowd)
    written = await _written(stack) - written
    await anyio.sleep(LATE_SECONDS)
    now, running = await crowd.look(), crowd.ffmpegs(crowd.mixers)
    return Cost(
        name=name,
        away=seconds,
        rooms=len(crowd.rooms),
        lost=sum(room not in now or now[room]["status"] != "onair" for room in crowd.rooms),
        moved=sum(now.get(room, {}).get("epoch") != placed[room]["epoch"] for room in crowd.rooms),
        restarted=sum(running.get(room) != ffmpegs[room] for room in crowd.rooms),
        died=sum(stack.read_pids()[part] != pids[part] for part in pids if part != "etcd"),
        answering=answering,
        healthy=healthy,
        writes=written,
        heard=await crowd.heard(moment),
        asker=asker,
    )


async def _recovery(crowd: Crowd) -> tuple[float, float]:
    began = anyio.current_time()
    with anyio.fail_after(RECOVERY_SECONDS):
        while not await _answers(crowd):  # noqa: ASYNC110 - a server has no event
            await anyio.sleep(POLL_SECONDS)
        answered = anyio.current_time()
        while not (await crowd.is_well() and await crowd.are_on_air(crowd.rooms)):  # noqa: ASYNC110
            await anyio.sleep(POLL_SECONDS)
    return answered - began, anyio.current_time() - answered


async def _answers(crowd: Crowd) -> bool:
    try:
        answer = await crowd.public.get(f"{crowd.stack.site.etcd_url}/health", timeout=1)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json().get("health") in ("true", True)


async def _written(stack: Stack) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{stack.site.etcd_url}/metrics")).text
    return total(text, KEYS) + total(text, DELETES)
