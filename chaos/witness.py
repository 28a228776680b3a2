"""Looks at everything that is, by other ways than Onair's own code where there are any.

::

    witness = Witness(etcd, http, master, mixers=[MixerPart(…), …], januses=[JanusPart(…), …])
    witness.ledger.answered("blue", "start", 200)    # note each call there, or unanswered(…)
    witness.planted.add("key /foreign")              # what must be left alone (I10), see ``look``
    async with witness.watching():                   # ``always`` every 0.25 s meanwhile
        …
    assert witness.findings == []
    await witness.settles(within=30)                 # AssertionError with all findings, or seconds

``await witness.look()`` fills in the five lists (``lists.Lists``); ``judge.always(lists, before)``
and ``judge.settled(lists)`` are the pure verdicts, each finding beginning with the invariant and
the room. ``witness.findings`` keeps what ``watching`` found. A test's stack makes its witness by
``tests.support.proof.witness(stack)``.
"""

import json
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import psutil

from chaos import judge
from chaos.ledger import Ledger
from chaos.lists import BridgeRoom, Folder, Forward, Lists, Process
from janusmanager import messages
from janusmanager.api import Marker as RoomMarker
from mixer.api import Marker as ProcessMarker
from mixer.files import Layout, list_folders
from pkg.errors import OnairError
from pkg.etcd.api import Etcd
from pkg.model import ModuleId, RoomId
from pkg.secrets import room_secret

SAMPLE_SECONDS = 0.25
POLL_SECONDS = 0.25
JANUS_SECONDS = 3.0
ETCD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class MixerPart:
    """``rtp_ports``: the range it may take, RTP and RTCP."""

    module_id: ModuleId
    media: Path
    run: Path
    rtp_ports: range


@dataclass(frozen=True, slots=True)
class JanusPart:
    """Its admin API over HTTP."""

    module_id: ModuleId
    url: str
    secret: str
    key: str


class Witness:
    def __init__(
        self,
        etcd: Etcd,
        http: httpx.AsyncClient,
        master: bytes,
        mixers: Sequence[MixerPart],
        januses: Sequence[JanusPart],
    ) -> None:
        self.ledger = Ledger()
        self.planted: set[str] = set()
        self.findings: list[str] = []
        self.looks = 0
        self._etcd, self._http, self._master = etcd, http, master
        self._mixers, self._januses = mixers, januses

    async def look(self) -> Lists:
        """Raises OnairError if etcd does not answer: without its list nothing can be said.

        Strangers are named ``key /…``, ``process 123`` and ``AudioBridge room 1234 in janus-1``.
        """
        found = await self._etcd.range("/")
        processes, strangers = await anyio.to_thread.run_sync(self._processes)
        keys = {kv.key: kv.value for kv in found.kvs}
        bridges, mute = await self._bridges({room for room, _, _ in Lists(keys).hosts()})
        foreign = {f"AudioBridge room {b.number} in {b.janus_id}" for b in bridges if not b.room}
        return Lists(
            keys=keys,
            processes=processes,
            ports=self._ports(),
            bridges=bridges,
            mute=mute,
            folders=self._folders(),
            allowed=self.ledger.allowed,
            strangers=frozenset({f"key {key}" for key in keys} | foreign | strangers),
            planted=frozenset(self.planted),
        )

    # -- the lists -------------------------------------------------------------------------

    def _processes(self) -> tuple[tuple[Process, ...], set[str]]:
        """Ours by their marker; and the others, by pid, for what was planted."""
        ids = {part.module_id for part in self._mixers}
        found: list[Process] = []
        others: set[str] = set()
        for process in psutil.process_iter():
            environment = _environment(process)
            marker = ProcessMarker.parse(environment)
            if marker is not None and marker.mixer_id in ids:
                found.append(
                    Process(process.pid, marker.mixer_id, marker.room_id, marker.epoch, marker.port)
                )
            elif environment:
                others.add(f"process {process.pid}")
        return tuple(found), others

    def _ports(self) -> frozenset[int]:
        """UDP ports of the mixers' ranges that somebody has bound."""
        with open("/proc/net/udp") as table:
            lines = table.readlines()[1:]
        bound = {int(line.split()[1].partition(":")[2], 16) for line in lines}
        return frozenset(port for part in self._mixers for port in bound & set(part.rtp_ports))

    def _folders(self) -> frozenset[Folder]:
        return frozenset(
            Folder(part.module_id, room, epoch)
            for part in self._mixers
            for room, epoch in list_folders(Layout(part.media, part.run))
        )

    async def _bridges(
        self, hosted: Collection[RoomId]
    ) -> tuple[tuple[BridgeRoom, ...], frozenset[ModuleId]]:
        found: list[BridgeRoom] = []
        mute: set[ModuleId] = set()
        for part in self._januses:
            try:
                found += await self._rooms_of(part, hosted)
            except (httpx.HTTPError, KeyError, ValueError):
                mute.add(part.module_id)
        return tuple(found), frozenset(mute)

    async def _rooms_of(self, part: JanusPart, hosted: Collection[RoomId]) -> list[BridgeRoom]:
        listed = await self._ask(part, messages.listing(part.key))
        bridges = [await self._bridge(part, item) for item in listed["list"]]
        return [
            replace(bridge, users=await self._users(part, bridge.number))
            if bridge.room in hosted
            else bridge
            for bridge in bridges
        ]

    async def _users(self, part: JanusPart, number: int) -> tuple[str, ...]:
        body = await self._ask(part, messages.participant_listing(number))
        shown = (user_of(one.get("display")) for one in body.get("participants", ()))
        return tuple(user for user in shown if user is not None)

    async def _bridge(self, part: JanusPart, item: dict[str, Any]) -> BridgeRoom:
        marker = RoomMarker.parse(item.get("description"))
        if marker is None or marker.module_id != part.module_id:
            return BridgeRoom(part.module_id, item["room"])
        secret = room_secret(self._master, marker.room_id, marker.janus_epoch)
        body = await self._ask(part, messages.forwarder_listing(item["room"], secret))
        forwards = tuple(
            Forward(f["stream_id"], f["ip"], f["port"], f["ssrc"])
            for f in body.get("rtp_forwarders", ())
        )
        number: int = item["room"]
        return BridgeRoom(part.module_id, number, marker.room_id, marker.janus_epoch, forwards)

    async def _ask(self, part: JanusPart, body: messages.Body) -> dict[str, Any]:
        """A room that went away since it was listed answers with an error: then it is empty."""
        message = messages.plugin(body) | {"transaction": "w", "admin_secret": part.secret}
        answer = await self._http.post(part.url, json=message, timeout=JANUS_SECONDS)
        response: dict[str, Any] = answer.json().get("response", {})
        return response

    # -- judging over time -----------------------------------------------------------------

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Hold every look against ``always`` while the body runs, into ``findings``."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        before: Lists | None = None
        while True:
            now = await self._try()
            if now is not None:
                self.findings += judge.always(now, before)
                before = now
                self.looks += 1
            await anyio.sleep(SAMPLE_SECONDS)

    async def _try(self) -> Lists | None:
        """None while etcd is away, as a test may have killed it."""
        with anyio.move_on_after(ETCD_SECONDS):
            try:
                return await self.look()
            except OnairError:
                return None
        return None

    async def settles(self, within: float = 30.0) -> float:
        """Seconds until two looks in a row found nothing. Raises AssertionError."""
        began, calm = anyio.current_time(), 0
        wrong = ["etcd does not answer"]
        with anyio.move_on_after(within):
            while calm < 2:
                lists = await self._try()
                wrong = judge.settled(lists) if lists else ["etcd does not answer"]
                calm = 0 if wrong else calm + 1
                await anyio.sleep(POLL_SECONDS)
            return anyio.current_time() - began - POLL_SECONDS
        raise AssertionError(f"not settled after {within:g} s: {wrong or ['only just']}")


def user_of(display: object) -> str | None:
    """Whom a gateway brought in under this name; None if none did.

    >>> user_of('{"u":"ann","d":"Ann"}'), user_of("test tone")
    ('ann', None)
    """
    try:
        found = json.loads(display) if isinstance(display, str) else None
    except ValueError:
        return None
    user = found.get("u") if isinstance(found, dict) else None
    return user if isinstance(user, str) else None


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process.environ() if alive else {}
    except (psutil.Error, OSError):
        return {}
