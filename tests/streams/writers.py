"""Writers that know what they were told, and judge a server that was killed by it.

Each has a stream of its own, and forks of it. A request that was under way when the server died
is unknown: with producer headers it is simply sent again, and must not be stored twice.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

TEXT = {"content-type": "text/plain"}


@dataclass
class Fact:
    """What a stream must hold: ``told`` was acknowledged, ``maybe`` follows it or not."""

    path: str
    told: bytes = b""
    seen: bytes = b""
    closed: bool | None = False  # None: it was asked for, and not answered
    deleted: bool | None = False
    made: bool = False


@dataclass
class Writer:
    number: int
    rng: random.Random
    acknowledged: int = 0
    streams: int = 0
    seq: int = 0
    fact: Fact | None = None
    pending: bytes | None = None
    old: list[Fact] = field(default_factory=list)

    async def run(self, http: httpx.AsyncClient) -> None:
        """Write until the server is gone."""
        try:
            while True:
                await self._step(http)
                self.acknowledged += 1
        except httpx.TransportError:
            return

    async def _step(self, http: httpx.AsyncClient) -> None:
        if self.fact is None:
            self.streams, self.seq = self.streams + 1, 0
            self.fact = Fact(f"/v1/stream/{self.number}/{self.streams}")
        if not self.fact.made:
            await self._make(http, self.fact)
            return
        if self.pending is not None:
            await self._append(http, self.fact)
            return
        actions = [self._append] * 20 + [self._fork, self._close, self._delete, self._read]
        await self.rng.choice(actions)(http, self.fact)

    async def _make(self, http: httpx.AsyncClient, fact: Fact) -> None:
        answer = await http.put(fact.path, headers=TEXT)
        assert answer.status_code in {200, 201}, answer
        fact.made = True

    async def _append(self, http: httpx.AsyncClient, fact: Fact) -> None:
        if self.pending is None:
            size = self.rng.choice([1, 10, 10, 100, 100, 1000, 70_000])
            self.pending = f"[{self.number}:{self.seq}]".encode() + b"x" * size
        producer = {
            "producer-id": str(self.number),
            "producer-epoch": "0",
            "producer-seq": str(self.seq),
        }
        answer = await http.post(fact.path, headers=TEXT | producer, content=self.pending)
        assert answer.status_code in {200, 204}, (answer, answer.text)
        fact.told, self.pending, self.seq = fact.told + self.pending, None, self.seq + 1

    async def _fork(self, http: httpx.AsyncClient, fact: Fact) -> None:
        fork = Fact(f"{fact.path}/fork{self.rng.randrange(10**9)}", told=fact.told)
        fork.made = False
        self.old.append(fork)
        answer = await http.put(fork.path, headers={"stream-forked-from": fact.path})
        assert answer.status_code == 201, answer
        fork.made = True
        answer = await http.post(fork.path, headers=TEXT, content=b"fork")
        assert answer.status_code == 204, answer
        fork.told += b"fork"

    async def _close(self, http: httpx.AsyncClient, fact: Fact) -> None:
        fact.closed = None
        self.old.append(fact)
        self.fact = None
        answer = await http.post(fact.path, headers={"stream-closed": "true"})
        assert answer.status_code == 204, answer
        fact.closed = True

    async def _delete(self, http: httpx.AsyncClient, fact: Fact) -> None:
        fact.deleted = None
        self.old.append(fact)
        self.fact = None
        answer = await http.delete(fact.path)
        assert answer.status_code == 204, answer
        fact.deleted = True

    async def _read(self, http: httpx.AsyncClient, fact: Fact) -> None:
        answer = await http.get(fact.path)
        assert answer.content.startswith(fact.told)
        fact.seen = answer.content


async def verify(http: httpx.AsyncClient, writers: Sequence[Writer]) -> None:
    for writer in writers:
        for fact in writer.old:
            await _judge(http, fact, b"fork")
        if writer.fact is not None and writer.fact.made:
            await _judge(http, writer.fact, writer.pending or b"")


async def _judge(http: httpx.AsyncClient, fact: Fact, maybe: bytes) -> None:
    answer = await http.get(fact.path)
    if fact.deleted is True:
        assert answer.status_code in {404, 410}, fact.path
        return
    if answer.status_code in {404, 410}:
        assert fact.deleted is None or not fact.made, fact.path
        return
    assert answer.content in {fact.told, fact.told + maybe}, (fact.path, len(answer.content))
    assert answer.content.startswith(fact.seen), fact.path
    closed = answer.headers.get("stream-closed") == "true"
    assert fact.closed is None or closed == fact.closed, fact.path
