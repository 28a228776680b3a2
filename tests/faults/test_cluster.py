"""Three etcds under churn: the leader dies, then freezes. Nothing acknowledged is lost.

Two room managers get calls all the while; what they answered is held against what is there when
all is quiet again (I5, I8). How long the API stood still at most is printed.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from chaos import judge
from chaos.api import Api
from chaos.churn import Churn
from chaos.promises import Promises
from chaos.witness import Witness
from tests.support import proof
from tests.support import stack as stacks
from tests.support.etcd import leader_of
from tests.support.stack import Stack, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

PAUSE_SECONDS = 10.0
STALL_SECONDS = 25.0  # an election, and the deadlines of what was in flight
GOES_ON_SECONDS = 45.0
SETTLED_SECONDS = 60.0
FOLDER = ": folder of epoch"
AS_BEFORE = 10  # calls answered in a row, one room manager
ROOMS = [f"room{n}" for n in range(8)]


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/cluster", room_managers=2, etcds=3) as running:
        yield running


class Maker:
    """Makes one room after another at one room manager; keeps the longest time without success."""

    def __init__(self, base: str, http: httpx.AsyncClient, promises: Promises) -> None:
        self.made = 0
        self.stall = 0.0
        self.wrong: list[str] = []
        self._rooms = (f"made-{base.rpartition(':')[2]}-{n}" for n in count())
        self._churn = Churn(Api([base], http), promises, [], self.wrong.append)

    async def run(self, over: anyio.Event) -> None:
        """Until it is over; then once more with success."""
        last = anyio.current_time()
        for room in self._rooms:
            ends = over.is_set()
            if await self._churn.call(room, "create") == 201:
                now = anyio.current_time()
                self.made, self.stall, last = self.made + 1, max(self.stall, now - last), now
                if ends:
                    return
            await anyio.sleep(0.1)


@asynccontextmanager
async def churning(stack: Stack, promises: Promises) -> AsyncGenerator[list[Maker]]:
    """Both room managers are called while the body runs; no call is under way after it."""
    bases = [stack.site.api_url(n) for n in range(2)]
    makers = [Maker(base, stack.http, promises) for base in bases]
    wrong: list[str] = []
    churns = [
        Churn(Api([base, *others(bases, base)], stack.http), promises, ROOMS[n::2], wrong.append)
        for n, base in enumerate(bases)
    ]
    over = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for n, churn in enumerate(churns):
            tasks.start_soon(churn.run, n)
        async with anyio.create_task_group() as making:
            for maker in makers:
                making.start_soon(maker.run, over)
            yield makers
            over.set()
        async with churns[0].held(), churns[1].held():
            tasks.cancel_scope.cancel()
    assert wrong + [words for maker in makers for words in maker.wrong] == []


def others(bases: Sequence[str], base: str) -> list[str]:
    return [other for other in bases if other != base]


async def goes_on(makers: Sequence[Maker]) -> None:
    """Each room manager has done so many calls more."""
    goals = [maker.made + AS_BEFORE for maker in makers]

    async def there() -> bool:
        return all(maker.made >= goal for maker, goal in zip(makers, goals, strict=True))

    await until(there, GOES_ON_SECONDS)


@asynccontextmanager
async def stalling(makers: Sequence[Maker], blow: str) -> AsyncGenerator[None]:
    """The API stands still in the body only for so long, and goes on after it."""
    for maker in makers:
        maker.stall = 0.0
    yield
    await goes_on(makers)
    stall = max(maker.stall for maker in makers)
    print(f"\nleader {blow}: the API's longest stall was {stall:.2f} s")
    assert stall < STALL_SECONDS


async def agrees(witness: Witness) -> bool:
    """All lists, but for folders: where a room is on air again its last one is kept for 30 s."""
    return all(FOLDER in finding for finding in judge.settled(await witness.look()))


async def test_the_leader_dies_and_freezes_under_churn(stack: Stack) -> None:
    witness = proof.witness(stack)
    promises = Promises(witness.ledger)
    async with churning(stack, promises) as makers:
        await goes_on(makers)
        leader = leader_of(stack.etcds)
        async with stalling(makers, "killed"):
            leader.kill()
            await goes_on(makers)
            await anyio.to_thread.run_sync(leader.start)
        leader = leader_of(stack.etcds)
        async with stalling(makers, "paused"):
            leader.pause()
            await anyio.sleep(PAUSE_SECONDS)
            leader.resume()
    await until(partial(agrees, witness), SETTLED_SECONDS)
    observed = await Api([stack.site.api_url()], stack.http).rooms("")
    assert observed is not None
    made = sum(maker.made for maker in makers)
    calls = witness.ledger.acknowledged
    print(f"{calls} calls acknowledged, {made} of them rooms made")
    assert promises.settled(observed) == []
    assert len([room for room in observed if room.startswith("made-")]) >= made
