"""A storm over one etcd: several writers, cuts, compactions, kills; a copy must come through.

``weather(make, events)`` has writers at work and strikes, round after round until ``events``
changes were written; at the quiet after each round it holds the subject's copy against etcd, key
by key and revision by revision: ``fault`` says what was wrong first. Troubles hit the subject's
connection (a proxy) or etcd itself.
"""

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from pkg.etcd.api import KV, AmbiguousError, Delete, Etcd, Put, UnavailableError
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support.etcd import EtcdServer
from tests.support.proxy import Proxy, proxied

EVENTS = int(os.environ.get("ONAIR_TEST_WATCH_EVENTS", "20000"))  # noqa: TID251
ROUNDS, WRITERS, KEYS = 6, 4, 150  # at least so many rounds
STEADY = ("/w/a/", "/w/b/", "/w/c/")
PASSING = tuple(f"/rooms/{n:02}/" for n in range(30))  # followed and dropped all the time
CATCH_UP_SECONDS = 30.0
T = TypeVar("T")


class Subject(Protocol):
    """What keeps a copy of ranges of etcd."""

    async def run(self) -> None: ...
    def follow(self, prefix: str) -> None: ...
    def unfollow(self, prefix: str) -> None: ...
    def copy(self, prefix: str) -> dict[str, KV]: ...
    async def reached(self, prefix: str, revision: int) -> None: ...


@dataclass
class Storm:
    server: EtcdServer
    proxy: Proxy
    subject: Subject
    rng: random.Random
    events: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    fault: str = ""
    followed: set[str] = field(default_factory=lambda: set(STEADY))

    # -- writing -----------------------------------------------------------------------------

    async def write(self, etcd: Etcd, writer: int, over: anyio.Event) -> None:
        """Transactions of one to 16 changes of keys that no other writer has."""
        rng, there = random.Random(f"{self.rng.random()}"), dict[str, bool]()
        while not over.is_set():
            keys = rng.sample(range(KEYS), rng.randint(1, 16))
            ops = [_op(rng, f"{prefix_of(n)}{n}-{writer}", there) for n in keys]
            try:
                await etcd.txn([], ops)
            except (UnavailableError, AmbiguousError):  # perhaps applied: nothing is known to be
                for op in ops:
                    there.pop(op.key, None)
                await anyio.sleep(0.05)
            else:
                self.events += len(ops)
                there.update((op.key, isinstance(op, Put)) for op in ops)

    # -- troubles ----------------------------------------------------------------------------

    async def cut(self) -> None:
        self.proxy.cut()

    async def away(self) -> None:
        """Nobody is let in for a while; what happens meanwhile must be found by listing."""
        self.proxy.shut = True
        self.proxy.cut()
        await anyio.sleep(self.rng.uniform(0.1, 0.5))
        self.proxy.shut = False

    async def compact(self) -> None:
        """At the head, while the subject is connected or just coming back."""
        status = await self._direct(lambda etcd: etcd.status())
        argv = ["etcdctl", "--endpoints", self.server.url, "compact", str(status.revision)]
        await anyio.run_process(argv, env={"ETCDCTL_API": "3"}, check=False)

    async def compact_while_away(self) -> None:
        self.proxy.shut = True
        self.proxy.cut()
        await anyio.sleep(0.1)
        await self.compact()
        self.proxy.shut = False

    async def kill(self) -> None:
        self.server.kill()
        await anyio.to_thread.run_sync(lambda: self.server.launch().wait_ready())

    async def pause(self) -> None:
        self.server.pause()
        await anyio.sleep(0.3)
        self.server.resume()

    async def come_and_go(self) -> None:
        for prefix in self.rng.sample(PASSING, 12):
            if prefix in self.followed:
                self.followed.discard(prefix)
                self.subject.unfollow(prefix)
            else:
                self.followed.add(prefix)
                self.subject.follow(prefix)

    async def strike(self, number: int) -> None:
        """Each trouble once a round, in any order; the kill, which costs most, in every third."""
        worst = self.kill if number % 3 == 0 else self.pause
        troubles = (self.cut, self.away, self.compact, self.compact_while_away, worst)
        for trouble in self.rng.sample(troubles, len(troubles)):
            await self.come_and_go()
            await trouble()
            self.struck[trouble.__name__] += 1
            await anyio.sleep(self.rng.uniform(0, 0.15))

    # -- rounds ------------------------------------------------------------------------------

    async def rage(self, events: int) -> None:
        number = 0
        while not self.fault and (self.events < events or number < ROUNDS):
            over = anyio.Event()
            async with self._clients() as clients, anyio.create_task_group() as tasks:
                for writer, etcd in enumerate(clients):
                    tasks.start_soon(self.write, etcd, writer, over)
                await self.strike(number)
                over.set()
            self.fault = await self.check()
            number += 1

    async def check(self) -> str:
        """Nobody writes now: the copy becomes equal to etcd; answers what is wrong with it."""
        truth = await self._direct(lambda etcd: etcd.range("/"))
        with anyio.move_on_after(CATCH_UP_SECONDS) as patience:
            for prefix in sorted(self.followed):
                await self.subject.reached(prefix, truth.revision)
        if patience.cancelled_caught:
            return "the copy never caught up"
        for prefix in (*STEADY, *PASSING):
            wanted = {kv.key: kv for kv in truth.kvs if kv.key.startswith(prefix)}
            there = wanted if prefix in self.followed else {}
            found = self.subject.copy(prefix)
            wrong = sorted(k for k in there.keys() | found if there.get(k) != found.get(k))
            if wrong:
                return f"the copy differs from etcd in {wrong[:5]}"
        return ""

    async def _direct(self, ask: Callable[[Etcd], Awaitable[T]]) -> T:
        async with client(self.server.url) as etcd:
            return await ask(etcd)

    @asynccontextmanager
    async def _clients(self) -> AsyncGenerator[list[Etcd]]:
        async with AsyncExitStack() as stack:
            entered = [stack.enter_async_context(client(self.server.url)) for _ in range(WRITERS)]
            yield [await etcd for etcd in entered]


def prefix_of(number: int) -> str:
    """Half of the keys lie in the steady ranges."""
    prefixes = STEADY if number % 2 else PASSING
    return prefixes[number // 2 % len(prefixes)]


def _op(rng: random.Random, key: str, there: dict[str, bool]) -> Put | Delete:
    """Deletes only what is there, so that every operation is an event."""
    if there.get(key) and rng.random() < 0.4:
        return Delete(key)
    return Put(key, b"%d" % rng.getrandbits(60))


@asynccontextmanager
async def client(url: str) -> AsyncGenerator[Etcd]:
    etcd = EtcdClient(EtcdOptions(endpoints=[url]))
    try:
        yield etcd
    finally:
        await etcd.aclose()


async def weather(make: Callable[[Etcd], Subject], events: int, seed: int) -> Storm:
    with EtcdServer() as server:
        async with proxied(server.port) as proxy, client(proxy.url) as etcd:
            storm = Storm(server, proxy, make(etcd), random.Random(seed))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(storm.subject.run)
                await storm.rage(events)
                tasks.cancel_scope.cancel()
            return storm
