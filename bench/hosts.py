"""What the gateway costs a host who joins: from connecting until his sound flows, by both ways.

In turns: one host through the gateway (JSON-RPC), one at Janus directly (the AudioBridge's own
API, with its pin). Both stay in the one room, so that each finds as many there as the other; they
do not listen, and play no more once they were heard, lest we ourselves be what is measured.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import anyio
import httpx

from bench.bot import Bot
from bench.host import Host
from bench.sockets import TTL_SECONDS, now_seconds
from bench.stack import Stack
from pkg.model import RoomId
from pkg.secrets import host_pin, token_key
from pkg.tokens import Role, Tokens

ROOM = RoomId("bench-hosts")
WARM_UP = 2  # pairs that are not counted
REST_SECONDS = 0.2
STEPS = ("connected to the gateway", "joined", "answered", "sound")


@dataclass
class Joins:
    """Seconds from connecting to sound; ``steps`` are the gateway's, from connecting on."""

    gateway: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)  # directly: until the answer was there
    steps: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})


@dataclass(frozen=True, slots=True)
class Direct:
    """Where the room is, for one who needs no gateway."""

    ws_url: str
    number: int
    pin: str


async def measure(stack: Stack, hosts: int, told: Callable[[], None]) -> Joins:
    """Raises TimeoutError, RefusedError, ClosedError."""
    master = stack.site.secret("master").encode()
    found, where = Joins(), await _on_air(stack, master, hosts)
    tokens = Tokens([token_key(master)])
    async with AsyncExitStack() as room:
        for number in range(hosts + WARM_UP):
            token = tokens.issue(
                ROOM, f"user-{number}", Role.HOST, now=now_seconds(), ttl=TTL_SECONDS
            )
            into = found if number >= WARM_UP else Joins()
            ways = [partial(_through, stack, token), partial(_direct, where)]
            for way in ways if number % 2 else reversed(ways):
                await way(into, room)
                await anyio.sleep(REST_SECONDS)
            told()
    return found


async def _on_air(stack: Stack, master: bytes, hosts: int) -> Direct:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    base = f"{stack.site.api_url}/api"
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=60) as http:
        body = {"roomId": ROOM, "maxParticipants": hosts + WARM_UP}
        (await http.post(f"{base}/rooms", json=body)).raise_for_status()
        (await http.post(f"{base}/rooms/{ROOM}/start?wait=30")).raise_for_status()
        janus = (await http.get(f"{base}/rooms/{ROOM}/explain")).json()["observed"]["janus"]
    pin = host_pin(master, ROOM, janus["epoch"])
    return Direct(janus["endpoints"]["ws"], janus["janusRoomId"], pin)


async def _through(stack: Stack, token: str, into: Joins, room: AsyncExitStack) -> None:
    host = Host(listens=False)
    room.push_async_callback(host.close)
    began = perf_counter()
    marks = []
    for step in (
        host.connect(stack.site.gateway_url(1), token),
        host.join(),
        host.publish(),
        host.connected(),
    ):
        await step
        marks.append(perf_counter() - began)
    into.gateway.append(marks[-1])
    for name, mark in zip(STEPS, marks, strict=True):
        into.steps[name].append(mark)
    if host.caller is not None:
        host.caller.sine.rest()


async def _direct(where: Direct, into: Joins, room: AsyncExitStack) -> None:
    bot = Bot(where.ws_url, where.number, where.pin, 440.0, listens=False)
    began = perf_counter()
    await room.enter_async_context(bot)
    into.answered.append(perf_counter() - began)
    await bot.connected()
    into.direct.append(perf_counter() - began)
    bot.caller.sine.rest()
