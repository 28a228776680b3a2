"""Tells workers: begins wakes, sends webhooks, writes wake events, ends leases (§7).

One task looks at what was stirred and at what is due; each delivery is a task of its own, at most
``CONCURRENCY`` of them at a time. Nothing here runs inside an append.
"""

import json
import random
from dataclasses import dataclass, field
from urllib.parse import quote

import anyio
import structlog
from anyio.abc import TaskGroup

from pkg.tokenbucket import Bucket
from streams.protocol.refusal import Refusal
from streams.protocol.requests import Append
from streams.store.store import Store
from streams.subscriptions import rules
from streams.subscriptions.model import WEBHOOK, Subscription, Wake
from streams.subscriptions.registry import Subscriptions
from streams.subscriptions.requests import SUBSCRIPTIONS
from streams.subscriptions.webhook import CONCURRENCY, Sender, UndeliveredError
from streams.wal.committer import BrokenError

log = structlog.get_logger()

SEND_SECONDS = 30.0
WAKES_A_SECOND, BURST = 50.0, 50  # a webhook costs 2 to 4 ms of the loop that serves appends


@dataclass(slots=True)
class Courier:
    """``public_url`` is how workers reach this server."""

    store: Store
    known: Subscriptions
    sender: Sender
    public_url: str
    rng: random.Random = field(default_factory=random.Random)
    _due: dict[str, float] = field(default_factory=dict)
    _pace: Bucket = field(default_factory=lambda: Bucket(WAKES_A_SECOND, BURST))
    _places: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(CONCURRENCY)
    )

    async def run(self) -> None:
        """Until it is cancelled, or the disk fails."""
        self._begin_leases()
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    for name in self._take():
                        self._look(name, tasks)
                    await self._news()
        except* BrokenError as group:
            log.error("courier.ended", error=str(group.exceptions[0]))

    def _begin_leases(self) -> None:
        """How long the server was away is nobody's fault."""
        for one in self.known.by_name.values():
            wake = one.wake
            if wake and wake.delivered and (wake.holder or one.config.type == WEBHOOK):
                wake.lease_until = anyio.current_time() + one.config.lease_seconds

    def _take(self) -> set[str]:
        now = anyio.current_time()
        found = self.known.stirred | {name for name, at in self._due.items() if at <= now}
        self.known.stirred = set()
        self.known.news = anyio.Event()
        return found

    async def _news(self) -> None:
        first = min(self._due.values(), default=None)
        pause = None if first is None else max(0.0, first - anyio.current_time())
        with anyio.move_on_after(pause):
            await self.known.news.wait()

    def _look(self, name: str, tasks: TaskGroup) -> None:
        """Do what is to be done next; whatever it changes stirs it again."""
        self._due.pop(name, None)
        one = self.known.by_name.get(name)
        if one is None:
            return
        now = anyio.current_time()
        match rules.next_step(one, self.known.streams, now, self.store.wall()):
            case rules.Begin():
                self.known.begin(one)
            case rules.Lapse():
                log.info("lease.over", subscription=name, generation=one.generation)
                self.known.end(one)
            case rules.Deliver() if one.wake is not None:
                one.wake.under_way = True
                tasks.start_soon(self._deliver, one, one.wake)
            case rules.Wait(seconds) if seconds is not None:
                self._due[name] = now + seconds
            case _:
                pass

    async def _deliver(self, one: Subscription, wake: Wake) -> None:
        """The generation is durable before anybody hears of it."""
        try:
            async with self._places:
                await self._paced()
                await self.known.settled()
                done = await self._tell(one, wake) if one.wake is wake else False
        except (UndeliveredError, Refusal) as error:
            self._failed(one, wake, str(error))
        except TimeoutError:
            self._failed(one, wake, "no answer in time")
        else:
            self._delivered(one, wake, done=done)

    async def _paced(self) -> None:
        while pause := self._pace.take(anyio.current_time()):  # noqa: ASYNC110 - time is the event
            await anyio.sleep(pause)

    async def _tell(self, one: Subscription, wake: Wake) -> bool:
        """Whether the worker is done already. Raises UndeliveredError, Refusal, TimeoutError."""
        if one.config.url is None:
            await self._write_event(one)
            return False
        wake.lease_until = anyio.current_time() + one.config.lease_seconds
        body = self._body(one, wake)
        headers = {
            "Content-Type": "application/json",
            "Webhook-Signature": self.known.signing.signature(body, self.store.wall()),
        }
        with anyio.fail_after(min(SEND_SECONDS, one.config.lease_seconds)):
            return await self.sender.send(one.config.url, body, headers)

    def _body(self, one: Subscription, wake: Wake) -> bytes:
        """§7.1; what it tells of is what a plain «done» acks."""
        infos = rules.infos(one, self.known.streams)
        wake.snapshot = {x.link.path: (x.sid, x.tail) for x in infos if x.sid is not None}
        told = {
            "subscription_id": one.name,
            "wake_id": wake.wake_id,
            "generation": one.generation,
            "streams": [x.line() for x in infos],
            "callback_url": f"{self.public_url}{SUBSCRIPTIONS}{quote(one.name, safe='')}/callback",
            "callback_token": self.known.token(one),
        }
        return json.dumps(told).encode()

    async def _write_event(self, one: Subscription) -> None:
        """§7.2. Raises Refusal: the wake stream is not there, closed, or holds something else."""
        path = one.config.wake_stream or ""
        event = {
            "type": "wake",
            "subscription_id": one.name,
            "stream": rules.first_pending(one, self.known.streams) or "",
            "generation": one.generation,
            "ts": int(self.store.wall() * 1000),
        }
        kind = self.store.look(path).made.content_type
        body = json.dumps(event).encode()
        await self.store.append(Append(path, kind, closes=False, claim=None, seq=None, body=body))

    def _delivered(self, one: Subscription, wake: Wake, *, done: bool) -> None:
        wake.under_way, wake.delivered = False, True
        if one.failures:
            log.info("wake.delivered", subscription=one.name, failures=one.failures)
        one.failures, one.next_attempt_at = 0, None
        if done and one.wake is wake:
            self.known.ack_snapshot(one, wake)
            self.known.end(one)
        else:
            self.known.changed(one)

    def _failed(self, one: Subscription, wake: Wake, why: str) -> None:
        wake.under_way = False
        if one.wake is not wake:
            self.known.stir(one)
            return  # the worker has finished, however its answer was lost
        one.failures += 1
        pause = rules.retry_seconds(one.failures, self.rng)
        one.next_attempt_at = self.store.wall() + pause
        log.warning(
            "wake.failed",
            subscription=one.name,
            failures=one.failures,
            error=why,
            again=round(pause, 1),
        )
        self.known.changed(one)
