"""Hosts in an AudioBridge room, real or fake, with what happens around them."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import pytest
from anyio.abc import TaskGroup

from bench.bot import Bot
from bench.caller import Caller
from janusmanager.api import Marker
from janusmanager.driver import JanusDriver
from pkg.lifecycle import background
from pkg.model import Epoch, ModuleId, RoomId
from tests.support.fake_audiobridge import FakeAudioBridges
from tests.support.janus import PATIENT, RealJanus, running
from wsgateway.api import AudioBridge, Tell
from wsgateway.exchange import (
    Answered,
    Enter,
    Entered,
    EntryFailed,
    Event,
    MediaUp,
    Offer,
    Peer,
    PeerLeft,
    PeersSeen,
    Place,
)
from wsgateway.janus import JanusBridge
from wsgateway.spares import Spares

MARKER = Marker(ModuleId("j1"), RoomId("blue"), Epoch(7))
NUMBER = 123456
PATIENCE_SECONDS = 30.0

E = TypeVar("E", bound=Event)


class Host:
    """One host's bridge, what it told, and whom he sees in the room by now."""

    def __init__(self, user_id: str, place: Place, make: Callable[[Tell], AudioBridge]) -> None:
        self.user_id = user_id
        self.place = place
        self.told: list[Event] = []
        self.sees: dict[int, Peer] = {}
        self.attempts = self.offers = self.fence = 0
        self.caller: Caller | None = None
        self.bridge = make(self._hear)

    def _hear(self, event: Event) -> None:
        self.told.append(event)
        match event:
            case PeersSeen(peers=peers):
                self.sees |= {peer.participant_id: peer for peer in peers}
            case PeerLeft(participant_id=participant):
                self.sees.pop(participant, None)
            case _:
                pass

    async def try_to_enter(self, *, muted: bool = False) -> Entered | EntryFailed:
        self.attempts += 1
        display = self.user_id.title()
        effect = Enter(self.attempts, self.place, self.user_id, display, muted, self.fence)
        return await self.bridge.enter(effect)

    async def enter(self, *, muted: bool = False) -> Entered:
        entered = await self.try_to_enter(muted=muted)
        assert isinstance(entered, Entered), entered
        self.sees = {peer.participant_id: peer for peer in entered.others}
        return entered

    async def offer(self, sdp: str) -> Answered:
        self.offers += 1
        answered = await self.bridge.offer(Offer(self.offers, sdp))
        assert isinstance(answered, Answered), answered
        return answered

    def of(self, user_id: str) -> Peer | None:
        found = [peer for peer in self.sees.values() if peer.user_id == user_id]
        return found[-1] if found else None

    async def hears(self, kind: type[E], count: int = 1) -> E:
        """Wait for the ``count``-th of its kind."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                found = [event for event in self.told if isinstance(event, kind)]
                if len(found) >= count:
                    return found[count - 1]
                await anyio.sleep(0.01)


class Stage(Protocol):
    """``place`` is of a room that exists."""

    place: Place

    def host(self, user_id: str) -> Host: ...

    async def publish(self, host: Host) -> None:
        """Offer, and connect; returns once MediaUp was told of this offer."""
        ...

    async def hang_up(self, host: Host) -> None:
        """His client ends its WebRTC."""
        ...

    @asynccontextmanager
    def stranger(self, display: str) -> AsyncGenerator[None]:
        """A participant whom no gateway let in."""
        ...

    async def users(self) -> list[str]:
        """Everybody in the room, as Janus lists them."""
        ...

    async def destroy_room(self) -> None: ...

    async def kill(self) -> None: ...


class FakeStage:
    def __init__(self) -> None:
        self.janus = FakeAudioBridges()
        self.place = Place(self.janus.url, NUMBER, Epoch(7), "pin", "secret")
        self.janus.create(self.place)

    def host(self, user_id: str) -> Host:
        return Host(user_id, self.place, self.janus.bridge)

    async def publish(self, host: Host) -> None:
        await host.offer("v=0")
        self.janus.connect(NUMBER, host.user_id)
        await host.hears(MediaUp, host.offers)

    async def hang_up(self, host: Host) -> None:
        self.janus.hang_up(NUMBER, host.user_id)

    @asynccontextmanager
    async def stranger(self, display: str) -> AsyncGenerator[None]:
        participant = self.janus.add_stranger(NUMBER, display)
        yield
        self.janus.left(NUMBER, participant)

    async def users(self) -> list[str]:
        return sorted(peer.user_id for peer in self.janus.rooms[NUMBER].peers.values())

    async def destroy_room(self) -> None:
        self.janus.destroy(NUMBER)

    async def kill(self) -> None:
        self.janus.kill()


class RealStage:
    def __init__(self, process: RealJanus, driver: JanusDriver, tasks: TaskGroup) -> None:
        self.process = process
        self.place = Place(process.settings.ws_url, NUMBER, Epoch(7), "pin", "secret")
        self.callers: list[Caller] = []
        self.spares = Spares()
        self._driver = driver
        self._connection = 1
        self._tasks = tasks

    def host(self, user_id: str) -> Host:
        return Host(user_id, self.place, lambda tell: JanusBridge(self._tasks, tell, self.spares))

    async def publish(self, host: Host, hertz: float = 440.0) -> None:
        host.caller = await self.offered(host, hertz)
        await host.caller.connected()
        await host.hears(MediaUp, host.offers)

    async def offered(self, host: Host, hertz: float) -> Caller:
        caller = Caller(hertz)
        self.callers.append(caller)
        answered = await host.offer(await caller.offer())
        await caller.accept(answered.sdp)
        return caller

    async def hang_up(self, host: Host) -> None:
        assert host.caller is not None
        await host.caller.close()

    @asynccontextmanager
    async def stranger(self, display: str) -> AsyncGenerator[None]:
        async with Bot(self.place.url, NUMBER, self.place.pin, 440, display=display):
            yield

    async def users(self) -> list[str]:
        found = await self._driver.participants(NUMBER)
        return sorted(participant.display.split('"')[3] for participant in found)

    async def create_room(self) -> None:
        await self._driver.create_room(MARKER, NUMBER, self.place.pin, self.place.secret)

    async def create_room_anew(self) -> None:
        """Once the driver is connected again."""
        self._connection = await self._driver.connection(self._connection)
        await self.create_room()

    async def destroy_room(self) -> None:
        await self._driver.destroy_room(NUMBER, self.place.secret)

    async def kill(self) -> None:
        self.process.kill()


@asynccontextmanager
async def real_stage(process: RealJanus) -> AsyncGenerator[RealStage]:
    """With the room made; callers and bridges end with the block."""
    driver = JanusDriver(process.access, MARKER.module_id, random.Random(1), PATIENT)
    async with background(driver.run), anyio.create_task_group() as tasks:
        with anyio.fail_after(PATIENT.deadline):
            await driver.connection()
        stage = RealStage(process, driver, tasks)
        await stage.create_room()
        yield stage
        for caller in stage.callers:
            await caller.close()
        tasks.cancel_scope.cancel()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RealJanus]:
    """For suites on the real Janus only; list it in ``__all__``, with ``stage``."""
    with running(tmp_path / "janus") as real:
        yield real


@pytest.fixture
async def stage(process: RealJanus) -> AsyncIterator[RealStage]:
    async with real_stage(process) as real:
        yield real
