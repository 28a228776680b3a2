"""Writers and readers that know what they were told, and judge a server that was killed by it.

Each writer has a stream of its own, and forks of it. A request that was under way when the server
died is unknown: with producer headers it is simply sent again, and must not be stored twice.
What a reader saw, however early, must be there for ever. Old streams are deleted in the end, so
that a run of any length judges about the same number of them each time.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import httpx

TEXT = {"content-type": "text/plain"}
KEPT = 12  # old streams of a writer that are left alone
FORGET = 0.3  # of those deleted, after each judgement


@dataclass
class Fact:
    """What a stream must hold: ``told`` was acknowledged; ``seen``, ``ended``, ``missed`` (its
    bytes, that it was closed, that it was gone) were shown to a reader."""

    path: str
    told: bytes = b""
    seen: bytes = b""
    ended: bool = False
    missed: bool = False
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
        actions = [self._append] * 20 + [self._fork, self._close, self._delete, self._tidy]
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
        self.old.append(fact)
        self.fact = None
        await self._remove(http, fact, {204})

    async def _tidy(self, http: httpx.AsyncClient, _: Fact) -> None:
        """Delete old streams: some have forks, some are forks, some may be gone already."""
        there = [fact for fact in self.old if fact.deleted is not True]
        for fact in there[: max(0, len(there) - KEPT)]:
            sure = fact.made and fact.deleted is False
            await self._remove(http, fact, {204} if sure else {204, 404, 410})

    async def _remove(self, http: httpx.AsyncClient, fact: Fact, good: set[int]) -> None:
        fact.deleted = None
        answer = await http.delete(fact.path)
        assert answer.status_code in good, answer
        fact.deleted = True

    def forget(self) -> None:
        """Some of those deleted; others are looked for again after the next kill."""
        self.old = [f for f in self.old if f.deleted is not True or self.rng.random() > FORGET]


@dataclass
class Reader:
    """Looks at what others are writing just now: nothing it sees may ever go away."""

    rng: random.Random
    looks: int = 0

    async def run(self, http: httpx.AsyncClient, writers: Sequence[Writer]) -> None:
        """Read until the server is gone."""
        try:
            while True:
                writer = self.rng.choice([w for w in writers if w.fact or w.old])
                await self._look(http, writer.fact or self.rng.choice(writer.old))
        except httpx.TransportError:
            return

    async def _look(self, http: httpx.AsyncClient, fact: Fact) -> None:
        before = replace(fact)
        answer = await http.get(fact.path)
        self.looks += 1
        if answer.status_code == 200:
            assert answer.content.startswith(before.told), fact.path
            assert not before.missed, fact.path
            fact.seen = max(fact.seen, answer.content, key=len)
            fact.ended |= answer.headers.get("stream-closed") == "true"
        else:
            assert not before.made or fact.deleted is not False, (answer, fact.path)
            fact.missed |= before.made


async def verify(http: httpx.AsyncClient, writers: Sequence[Writer]) -> int:
    """How many streams were judged."""
    judged = 0
    for writer in writers:
        for fact in writer.old:
            await _judge(http, fact, b"fork")
        if writer.fact is not None and writer.fact.made:
            await _judge(http, writer.fact, writer.pending or b"")
        judged += len(writer.old) + 1
        writer.forget()
    return judged


async def _judge(http: httpx.AsyncClient, fact: Fact, maybe: bytes) -> None:
    answer = await http.get(fact.path)
    if fact.deleted is True:
        assert answer.status_code in {404, 410}, fact.path
        return
    if answer.status_code in {404, 410}:
        assert fact.deleted is None or not fact.made, fact.path
        return
    assert not fact.missed, fact.path
    assert answer.content in {fact.told, fact.told + maybe}, (fact.path, len(answer.content))
    assert answer.content.startswith(fact.seen), fact.path
    closed = answer.headers.get("stream-closed") == "true"
    assert closed or not fact.ended, fact.path
    assert fact.closed is None or closed == fact.closed, fact.path
