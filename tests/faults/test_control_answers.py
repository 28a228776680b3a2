"""REST answers that never come: after the commit, and by a room manager that is killed (F1, F43).

Whoever repeats a call gets what the first one would have told; nothing acknowledged is lost (I8).
"""

from collections.abc import AsyncGenerator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from chaos.api import Api
from chaos.ledger import Verb
from chaos.witness import Witness
from pkg import keys
from pkg.model import Desired, LiveMeta, RoomId
from tests.support import history, proof
from tests.support import stack as stacks
from tests.support.proxy import Proxy, proxied
from tests.support.stack import Stack, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

CLIENTS = 4
CALLS = 12  # of each client, before and after the blow
STAYING = 2  # rooms of each client that it leaves on air
PAUSE_SECONDS = 0.1
CYCLE: tuple[Verb, ...] = ("create", "start", "stop", "delete")
DONE_BEFORE = {"create": 409, "delete": 404}  # what repeating a call that was done answers


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(
        tmp_path, "", "/answers", room_managers=2, etcds=1, capacity=60
    ) as running:
        yield running


def request(room: str, verb: Verb) -> tuple[str, str, Any]:
    if verb == "create":
        return "POST", "/rooms", {"roomId": room}
    if verb == "delete":
        return "DELETE", f"/rooms/{room}", None
    return "POST", f"/rooms/{room}/{verb}", None


# -- the answer is lost ------------------------------------------------------------------------


async def committed(stack: Stack, room: str, verb: Verb) -> bool:
    """etcd has what the call is to bring about."""
    meta = await stack.etcd.get(keys.room(RoomId(room), "meta"))
    found = await stack.etcd.get(keys.room(RoomId(room), "livemeta"))
    status = LiveMeta.decode(found.value).status if found else None
    match verb:
        case "create":
            return meta is not None
        case "start":
            return status is Desired.ONAIR
        case "stop":
            return status is not Desired.ONAIR
        case "delete":
            return meta is None or status is Desired.REMOVING


async def unanswered(stack: Stack, proxy: Proxy, room: str, verb: Verb) -> None:
    """The call is done, and its caller's connection ends before the answer."""
    method, path, body = request(room, verb)

    async def ask() -> None:
        with pytest.raises(httpx.TransportError):
            await stack.http.request(method, f"{proxy.url}/api{path}", json=body)

    proxy.deaf = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await until(lambda: committed(stack, room, verb))
        proxy.cut()
    proxy.deaf = False


async def test_a_call_whose_answer_was_lost_may_be_repeated(stack: Stack) -> None:
    async with proxied(int(stack.site.api_url().rpartition(":")[2])) as proxy:
        await unanswered(stack, proxy, "blue", "create")
        again = await stack.call("POST", "/rooms", 409, json={"roomId": "blue"})
        assert (again["code"], again["room"]["roomId"]) == ("room-exists", "blue")

        await unanswered(stack, proxy, "blue", "start")
        first = await stack.live("blue")
        assert (await stack.start("blue"))["epoch"] == first.epoch
        assert (await stack.live("blue")).nonce == first.nonce, "one start, one time on air"

        await unanswered(stack, proxy, "blue", "stop")
        again = await stack.call("POST", "/rooms/blue/stop")
        assert again["status"] in ("stopping", "idle")
        await stack.becomes("blue", "idle")
        await stack.start("blue")

        await unanswered(stack, proxy, "blue", "delete")
        again_status = (await stack.http.delete("/api/rooms/blue")).status_code
        assert again_status in (202, 404)
    await stack.nothing_remains()


# -- the one who was to answer is killed ---------------------------------------------------------


class Client:
    """Makes, starts, stops and deletes rooms; repeats at the other what was not answered."""

    def __init__(self, stack: Stack, witness: Witness, number: int) -> None:
        urls = [stack.site.api_url(0), stack.site.api_url(1)]
        self._mine, self._other = (Api([url], stack.http) for url in urls)
        self._ledger = witness.ledger
        self._rooms = (f"client{number}-{n}" for n in count())
        self.done = self.repeated = 0

    async def run(self, over: anyio.Event) -> None:
        """Until it is over. Raises AssertionError if a call is answered as none may be."""
        for number, room in enumerate(self._rooms):
            for verb in CYCLE[:2] if number < STAYING else CYCLE:
                if over.is_set():
                    return
                await self._call(room, verb)
                await anyio.sleep(PAUSE_SECONDS)

    async def _call(self, room: str, verb: Verb) -> None:
        said = await self._mine.call(*request(room, verb))
        repeated = said is None
        if repeated:
            self._ledger.unanswered(room, verb)
            self.repeated += 1
            said = await self._other.call(*request(room, verb))
        assert said is not None, "one of them lives"
        assert said.ok or (repeated and said.status == DONE_BEFORE.get(verb)), (verb, room, said)
        self._ledger.answered(room, verb, 200)
        self.done += 1


async def more_calls(clients: Sequence[Client]) -> None:
    goals = [client.done + CALLS for client in clients]

    async def there() -> bool:
        return all(c.done >= goal for c, goal in zip(clients, goals, strict=True))

    await until(there, within=60)


async def test_a_room_manager_is_killed_in_the_middle_of_calls(stack: Stack) -> None:
    """No room has an answer lost twice, for the second room manager lives."""
    witness = proof.witness(stack)
    clients = [Client(stack, witness, number) for number in range(CLIENTS)]
    over = anyio.Event()
    async with witness.watching(), anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(client.run, over)
        await more_calls(clients)
        stack.room_managers[0].kill()
        await more_calls(clients)
        stack.room_managers[0].start()
        await stack.ready()
        await more_calls(clients)
        over.set()
    await witness.settles()
    print(f"\n{witness.ledger.acknowledged} calls, {sum(c.repeated for c in clients)} repeated")
    assert any(client.repeated for client in clients), "no call was hit"
    assert history.stale(await history.told(stack.etcd, since=1)) == []
    assert witness.findings == []
