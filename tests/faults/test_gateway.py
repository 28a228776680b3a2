"""Hosts who talk through gateways while parts fail: F14, and what else ends a connection.

Each host behaves as the studio page does (bench/host.py). After each fault he is connected once,
is once in Janus, has one key in etcd, and is heard; when he leaves nothing of him is left.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from bench.host import Guest
from chaos.witness import Witness
from pkg import keys
from pkg.model import Host
from tests.support import stack as stacks
from tests.support.stack import Stack, until
from tests.support.view import mark, on_air

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]
TONES = {"ann": 440.0, "bob": 1000.0}
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS, AWAY_SECONDS = 14.0, 20.0
DEADLINE_SECONDS = 3


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/faults", januses=2, gateways=2, etcds=1) as running:
        yield running


@dataclass
class Show:
    """A room on air with two hosts, each at another gateway in the beginning."""

    stack: Stack
    witness: Witness
    guests: dict[str, Guest]

    async def goes_on(self, *, after: dict[str, int] | None = None) -> None:
        """Wait until it is as it should be; ``after``: offers that do not count."""
        for name, guest in self.guests.items():
            await guest.live((after or {}).get(name, 0), PATIENCE_SECONDS)
        await self.witness.settles(PATIENCE_SECONDS)
        await until(self.are_here_once, PATIENCE_SECONDS)
        for name, guest in self.guests.items():
            (other,) = TONES.keys() - {name}
            assert guest.host.caller is not None
            await guest.host.caller.hears(TONES[other], PATIENCE_SECONDS)

    async def are_here_once(self) -> bool:
        lists = await self.witness.look()
        users = sorted(user for bridge in lists.bridges for user in bridge.users)
        return users == [user for _, user, _ in lists.hosts()] == sorted(TONES)

    async def holder(self, user: str) -> Host:
        found = await self.stack.etcd.get(keys.host("blue", user))  # type: ignore[arg-type]
        assert found is not None
        return Host.decode(found.value)

    def offers(self) -> dict[str, int]:
        return {name: guest.offers for name, guest in self.guests.items()}

    def stays(self) -> list[int]:
        return [guest.stays for guest in self.guests.values()]


@asynccontextmanager
async def show(stack: Stack) -> AsyncGenerator[Show]:
    witness = await on_air(stack, "blue")
    urls = [f"{stack.site.gateway_url(n)}/ws" for n in range(len(stack.gateways))]
    async with AsyncExitStack() as entered:
        guests = {}
        for number, (name, hertz) in enumerate(TONES.items()):
            body = {"userId": name, "role": "host"}
            made = await stack.call("POST", "/rooms/blue/tokens", 201, json=body)
            guest = Guest(urls, made["token"], hertz, seed=number)
            guests[name] = await entered.enter_async_context(guest)
        found = Show(stack, witness, guests)
        await found.goes_on()
        yield found


async def test_gateways_die_and_sleep(stack: Stack) -> None:
    async with show(stack) as found:
        first, second = stack.gateways
        offers = found.offers()
        first.kill()  # he comes to the other one, which takes the dead one's key over
        await found.goes_on(after={"ann": offers["ann"]})
        assert found.stays() == [2, 1]
        assert found.offers()["bob"] == offers["bob"], "whose gateway lives notices nothing"
        first.start()
        await stack.ready()
        second.pause()
        await anyio.sleep(PAUSE_SECONDS)  # longer than its lease: its hosts' keys are gone
        assert not [key for key in await stack.keys() if key.startswith(keys.HOSTS)]
        second.resume()
        await found.goes_on()
        assert found.stays() == [2, 1], "he who slept with it need not come anew"
    await nothing_remains(stack)


async def test_etcd_is_away(stack: Stack) -> None:
    async with show(stack) as found:
        offers = found.offers()
        (server,) = stack.etcds
        server.kill()
        await anyio.sleep(AWAY_SECONDS)
        server.launch()
        await found.goes_on()
        assert (found.offers(), found.stays()) == (offers, [1, 1]), "nobody noticed"
    await nothing_remains(stack)


async def test_janus_dies_the_room_moves_and_stops(stack: Stack) -> None:
    async with show(stack) as found:
        offers, host = found.offers(), await stack.janus_of("blue")
        host.janus.kill()
        host.janus.start()
        await found.goes_on(after=offers)
        offers, host = found.offers(), await stack.janus_of("blue")
        path = f"/modules/janus/{host.module_id}/mark"
        body = {"mark": "draining", "deadlineSeconds": DEADLINE_SECONDS}
        await stack.call("PUT", path, json=body)
        await found.goes_on(after=offers)
        assert await stack.janus_of("blue") is not host
        assert found.stays() == [1, 1], "connections stay"
        await mark(stack, "janus", host.module_id, "ready")
        await stack.call("POST", "/rooms/blue/stop")
        found.witness.ledger.answered("blue", "stop", 200)
        for guest in found.guests.values():
            await until(lambda guest=guest: is_over(guest, 4404), PATIENCE_SECONDS)  # type: ignore[misc]
    await nothing_remains(stack)


async def is_over(guest: Guest, code: int) -> bool:
    return guest.over == code


async def nothing_remains(stack: Stack) -> None:
    """Neither while the room is there nor after it."""

    async def nobody() -> bool:
        return not [key for key in await stack.keys() if key.startswith(keys.HOSTS)]

    await until(nobody, PATIENCE_SECONDS)
    await stack.call("DELETE", "/rooms/blue", 202)
    await stack.nothing_remains(PATIENCE_SECONDS)
