"""Janus over its admin WebSocket: the verbs of ``api.Janus``, a connection that heals itself.

``run`` holds the connection and must run as long as the driver is used
(``pkg.lifecycle.background(driver.run)``); verbs fail at once while there is none. Every new
connection is checked first: a Janus without an admin key would hide our private rooms from
``list``, and absence must be believable.
"""

import ipaddress
import random
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import anyio
import structlog

from janusmanager import link, messages
from janusmanager.api import (
    Forwarder,
    JanusInfo,
    JanusRefusedError,
    JanusRoom,
    JanusUnavailableError,
    Marker,
    NoSuchRoomError,
    Participant,
    RoomNumberTakenError,
)
from janusmanager.link import Access
from janusmanager.messages import Body, Failure
from pkg import backoff
from pkg.janus.link import Limits, Link
from pkg.model import ModuleId
from pkg.outage import Outages

log = structlog.get_logger()

RECONNECT_CAP_SECONDS = 0.5  # all its rooms are silent until we are back
STABLE_SECONDS = 5.0  # a connection that lived so long ends a series of failures


class JanusDriver:
    """``api.Janus`` for one real Janus; needs an asyncio loop (the WebSocket library's)."""

    def __init__(
        self,
        access: Access,
        module_id: ModuleId,
        rng: random.Random,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._access = access
        self._module_id = module_id
        self._rng = rng
        self._limits = limits
        self._listeners: list[Callable[[], None]] = []
        self._link: Link | None = None
        self._why_not = "not connected to Janus yet"
        self._refusal: str | None = None
        self._number = 0
        self._outages = Outages("janus.disconnected", "janus.reconnected")
        self._announced = anyio.Event()

    # --- the connection ---

    def on_change(self, listener: Callable[[], None]) -> None:
        """Called whenever the connection has come or gone."""
        self._listeners.append(listener)

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()

    async def run(self) -> NoReturn:
        """Connect, check, announce; when the connection ends, wait with jitter and do it again."""
        failures = 0
        while True:
            began = anyio.current_time()
            self._why_not = await self._serve_one_connection()
            self._notify()
            lived = anyio.current_time() - began
            failures = 0 if lived > STABLE_SECONDS else failures + 1
            self._outages.failed("janus", reason=self._why_not)
            await anyio.sleep(backoff.delay(failures, self._rng, cap=RECONNECT_CAP_SECONDS))

    async def _serve_one_connection(self) -> str:
        """Answers why it ended."""
        try:
            async with (
                link.opened(self._access, self._limits) as opened,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._check_and_announce, opened)
                reason = await opened.read()
                tasks.cancel_scope.cancel()
        except JanusUnavailableError as error:
            return str(error)
        finally:
            self._link = None
        return reason

    async def _check_and_announce(self, opened: Link) -> None:
        try:
            await check(opened, self._access.admin_key)
            self._refusal = None
        except JanusRefusedError as error:
            self._refusal = str(error)
            log.error("janus.refused", reason=self._refusal)
        except JanusUnavailableError as error:
            log.warning("janus.check_failed", reason=str(error))
            await opened.close()
            return
        self._link = opened
        self._number += 1
        self._announced.set()
        self._announced = anyio.Event()
        log.info("janus.connected", connection=self._number)
        self._outages.over("janus")
        self._notify()

    async def connection(self, after: int = 0) -> int:
        while self._number <= after:
            await self._announced.wait()
        return self._number

    async def _core(self, verb: str) -> Mapping[str, Any]:
        if self._link is None:
            raise JanusUnavailableError(self._why_not)
        return await asked(self._link, messages.core(verb))

    async def _plugin(self, body: Body, number: int = 0) -> Mapping[str, Any]:
        if self._link is None:
            raise JanusUnavailableError(self._why_not)
        if self._refusal is not None:
            raise JanusRefusedError(self._refusal)
        return await asked(self._link, messages.plugin(body), number)

    # --- the verbs ---

    async def ping(self) -> float:
        began = anyio.current_time()
        await self._core("ping")
        return anyio.current_time() - began

    async def info(self) -> JanusInfo:
        return messages.read_info(await self._core("info"))

    async def list_rooms(self) -> tuple[JanusRoom, ...]:
        body = await self._plugin(messages.listing(self._access.admin_key))
        return messages.read_rooms(body, self._module_id)

    async def create_room(self, marker: Marker, number: int, pin: str, secret: str) -> JanusRoom:
        body = messages.creation(self._access.admin_key, marker, number, pin, secret)
        try:
            await self._plugin(body, number)
        except RoomNumberTakenError:
            return await self._adopted(marker, number)
        return JanusRoom(number, marker)

    async def _adopted(self, marker: Marker, number: int) -> JanusRoom:
        for room in await self.list_rooms():
            if (room.number, room.marker) == (number, marker):
                log.info("janus_room.adopted", number=number, marker=str(marker))
                return room
        raise RoomNumberTakenError(number)

    async def destroy_room(self, number: int, secret: str) -> None:
        try:
            await self._plugin(messages.destruction(number, secret), number)
        except NoSuchRoomError:
            return

    async def forward(self, number: int, secret: str, host: str, port: int, ssrc: int) -> int:
        address = str(ipaddress.ip_address(host))
        key = self._access.admin_key
        body = messages.forwarding(key, number, secret, address, port, ssrc)
        existing = await self.forwarders(number, secret)
        stream_id, surplus = messages.match_forwarders(existing, address, port, ssrc)
        if stream_id is None:
            stream_id = messages.read_stream_id(await self._plugin(body, number))
        for other in surplus:
            await self.stop_forward(number, secret, other)
        return stream_id

    async def forwarders(self, number: int, secret: str) -> tuple[Forwarder, ...]:
        body = await self._plugin(messages.forwarder_listing(number, secret), number)
        return messages.read_forwarders(body)

    async def stop_forward(self, number: int, secret: str, stream_id: int) -> None:
        key = self._access.admin_key
        try:
            await self._plugin(messages.forwarder_end(key, number, secret, stream_id), number)
        except NoSuchRoomError:
            return

    async def participants(self, number: int) -> tuple[Participant, ...]:
        body = await self._plugin(messages.participant_listing(number), number)
        return messages.read_participants(body)


async def asked(opened: Link, request: Body, number: int = 0) -> Mapping[str, Any]:
    """One request's answer; raises what its failure means for room ``number``."""
    reply = await opened.request(request)
    if reply.failure is not None:
        raise messages.to_error(reply.failure, number)
    return reply.body


async def check(opened: Link, admin_key: str) -> None:
    """Raises JanusRefusedError unless Janus is set up so that we can and may trust it."""
    info = messages.read_info(await asked(opened, messages.core("info")))
    if messages.PLUGIN not in info.plugins:
        raise JanusRefusedError(f"Janus has not loaded {messages.PLUGIN}: see janus.jcfg")
    await asked(opened, messages.plugin(messages.listing(admin_key)))
    wrong = await opened.request(messages.plugin(messages.listing(f"not {admin_key}")))
    if not _asks_for_admin_key(wrong.failure):
        raise JanusRefusedError(
            "the AudioBridge has no admin key, so that anybody may create rooms and ours are "
            "hidden from us: set general.admin_key in janus.plugin.audiobridge.jcfg"
        )
    unlocked = await opened.request(messages.plugin(messages.unlocked_forwarding()))
    if not _asks_for_admin_key(unlocked.failure):
        raise JanusRefusedError(
            "the AudioBridge lets anybody forward a room's audio: set general.lock_rtp_forward "
            "= true in janus.plugin.audiobridge.jcfg"
        )


def _asks_for_admin_key(failure: Failure | None) -> bool:
    return failure is not None and "admin_key" in failure.reason
