"""A whole Onair for one test: real etcd (own prefix), own Januses, our daemons as real processes.

``async with running(folder, etcd_url, namespace, mixers=2, januses=2, room_managers=2) as stack``
answers once every room manager is ready and every module healthy. Everything has its own ports,
folders, ids and secrets, so that any number of tests may run beside each other. At the end nothing
is left: no process, no FFmpeg, no key. Any part may be killed, paused and started again:

- ``stack.mixers[n]`` (``stack.mixer`` is the first) is the mixer's daemon: ``kill()`` (SIGKILL,
  reaped), ``start()``, ``restart()``, ``pause()``, ``resume()``; ``kill_host()``, ``pause_host()``,
  ``resume_host()`` take its FFmpegs too; ``ffmpegs()``, ``kill_ffmpeg(room)``, ``module_id``.
- ``stack.janus_hosts[n]`` has ``.janus`` and ``.manager`` (``stack.janus``, ``stack.janus_manager``
  are the first's) with the same verbs each, and ``kill_host()``, ``pause_host()``,
  ``resume_host()``, ``start()`` for both.
- ``stack.room_managers[n]``, at ``stack.site.api_url(n)``.
- ``stack.gateways[n]``, at ``stack.site.gateway_url(n)``; none unless asked for.
- ``stack.etcds``: with ``etcds=1`` or ``3`` servers of the stack's own (``kill()``, ``launch()``,
  ``pause()``, ``resume()``), else empty: the shared one must not be touched.

``stack.mixer_of(room)`` and ``stack.janus_of(room)`` are the hosts a room is placed on now.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from bench.bot import Bot
from janusmanager import messages
from pkg import keys
from pkg.etcd.api import DeletePrefix, Etcd
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import JanusState, LiveMeta, RoomId
from pkg.secrets import host_pin
from tests.support import site as sites
from tests.support.daemon import Daemon
from tests.support.etcd import EtcdServer, cluster
from tests.support.hosts import JanusHost, MixerHost, marked
from tests.support.janus import RealJanus
from tests.support.ports import port_block
from tests.support.site import Machine, Site

__all__ = ["JanusHost", "MixerHost", "Stack", "host", "marked", "running", "until"]
READY_SECONDS = 60.0  # two cores, shared with other tests that start at the same time
PATIENCE_SECONDS = 45.0  # for what takes a second or two on a machine of one's own
POLL_SECONDS = 0.05
ETCD_SECONDS = 10.0  # the test's own look at etcd; our daemons give up after two
NOT_OF_ROOMS = ("/heartbeat", "/housekeeping", "/mark")

MAX_ROOM_MANAGERS = 4


async def until(fact: Callable[[], Awaitable[object]], within: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition. Raises TimeoutError."""
    with anyio.fail_after(within):
        while not await fact():
            await anyio.sleep(POLL_SECONDS)


async def host(etcd: Etcd, master: bytes, room: str, hertz: float) -> Bot:
    """One who plays a tone in the room, found by what etcd says of it; not entered yet."""
    found = await etcd.get(keys.room(RoomId(room), "janus"))
    assert found is not None
    janus = JanusState.decode(found.value)
    assert janus.endpoints.ws is not None
    pin = host_pin(master, room, janus.epoch)
    return Bot(janus.endpoints.ws, janus.janus_room_id, pin, hertz)


@dataclass(frozen=True)
class Size:
    """How many of each; ``etcds`` 0: the shared server, in a namespace."""

    room_managers: int = 1
    mixers: int = 1
    januses: int = 1
    etcds: int = 0
    gateways: int = 0


class Stack:
    """``http`` is the owner's client (API key), ``public`` a stranger's (none)."""

    def __init__(
        self, site: Site, size: Size, etcd: EtcdClient, etcds: Sequence[EtcdServer]
    ) -> None:
        self.site = site
        self.etcd = etcd
        self.etcds = etcds
        self.room_managers = [sites.room_manager(site, n) for n in range(size.room_managers)]
        self.mixers = [MixerHost(site, place) for place in site.machines[: size.mixers]]
        self.janus_hosts = [JanusHost(site, place) for place in site.machines[: size.januses]]
        self.gateways = [sites.gateway(site, place) for place in site.machines[: size.gateways]]
        self.public = httpx.AsyncClient(base_url=site.api_url(), trust_env=False, timeout=60)
        self.http = httpx.AsyncClient(
            base_url=site.api_url(),
            headers={"Authorization": f"Bearer {site.api_key}"},
            trust_env=False,
            timeout=60,
        )

    @property
    def mixer(self) -> MixerHost:
        return self.mixers[0]

    @property
    def janus(self) -> RealJanus:
        return self.janus_hosts[0].janus

    @property
    def janus_manager(self) -> Daemon:
        return self.janus_hosts[0].manager

    @property
    def daemons(self) -> list[Daemon]:
        managers = (host.manager for host in self.janus_hosts)
        return [*self.room_managers, *managers, *self.mixers, *self.gateways]

    def logs(self) -> dict[str, str]:
        """What each part said last, for a failed test's report."""
        said = {daemon.name: daemon.tail() for daemon in self.daemons}
        for place in self.janus_hosts:
            text = place.janus.log_path.read_text(errors="replace")
            said[place.place.called("janus")] = text[-3000:]
        for mixer in self.mixers:
            for path in mixer.place.run.glob("*/log"):
                said[str(path)] = path.read_text()[-2000:]
        return said

    # -- asking ----------------------------------------------------------------------------

    async def call(
        self, method: str, path: str, status: int = 200, **options: Any
    ) -> dict[str, Any]:
        """One REST call that must answer with ``status``; answers its JSON."""
        answer = await self.http.request(method, f"/api{path}", **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    async def create(self, room: str, **fields: object) -> dict[str, Any]:
        return await self.call("POST", "/rooms", 201, json={"roomId": room, **fields})

    async def start(self, room: str, wait: float = PATIENCE_SECONDS) -> dict[str, Any]:
        return await self.call("POST", f"/rooms/{room}/start?wait={wait:g}")

    async def status(self, room: str) -> str:
        """``gone`` for a room that does not exist."""
        answer = await self.http.get(f"/api/rooms/{room}")
        return "gone" if answer.status_code == 404 else str(answer.json()["status"])

    async def becomes(self, room: str, status: str, within: float = PATIENCE_SECONDS) -> None:
        async def there() -> bool:
            return await self.status(room) == status

        await until(there, within)

    async def keys(self) -> dict[str, bytes]:
        """All of our etcd, without the prefix."""
        found = await self.etcd.range("/")
        return {kv.key: kv.value for kv in found.kvs}

    async def bot(self, room: str, hertz: float) -> Bot:
        return await host(self.etcd, self.site.master, room, hertz)

    async def live(self, room: str) -> LiveMeta:
        """What the room is to be, now. Raises AssertionError if it is not started."""
        found = await self.etcd.get(keys.room(RoomId(room), "livemeta"))
        assert found is not None, f"{room} is not started"
        return LiveMeta.decode(found.value)

    async def mixer_of(self, room: str) -> MixerHost:
        wanted = (await self.live(room)).mixer_id
        return next(mixer for mixer in self.mixers if mixer.module_id == wanted)

    async def janus_of(self, room: str) -> JanusHost:
        wanted = (await self.live(room)).janus_id
        return next(host for host in self.janus_hosts if host.module_id == wanted)

    # -- looking at what really runs --------------------------------------------------------

    def ffmpegs(self) -> dict[str, list[int]]:
        """room → pids of the living FFmpegs of this stack's mixers"""
        found: dict[str, list[int]] = {}
        for mixer in self.mixers:
            for room, pids in mixer.ffmpegs().items():
                found.setdefault(room, []).extend(pids)
        return found

    async def janus_rooms(self) -> list[str]:
        """The AudioBridges' rooms, by their descriptions."""
        return [text for host in self.janus_hosts for text in await self._rooms_of(host)]

    async def _rooms_of(self, host: JanusHost) -> list[str]:
        settings = host.place.janus
        body = messages.plugin({"request": "list", "admin_key": settings.admin_key})
        message = body | {"transaction": "t", "admin_secret": settings.admin_secret}
        answer = await self.public.post(settings.admin_http_url, json=message)
        return [room["description"] for room in answer.json()["response"]["list"]]

    def files(self) -> list[str]:
        """Files and folders of rooms, served and private, but for those that vanish meanwhile."""
        return sorted(
            str((Path(parent) / name).relative_to(self.site.folder))
            for mixer in self.mixers
            for folder in (mixer.place.media, mixer.place.run)
            for parent, folders, files in os.walk(folder)
            for name in (*folders, *files)
        )

    def bound_ports(self) -> set[int]:
        """UDP ports of our mixers' ranges that somebody has bound."""
        with open("/proc/net/udp") as table:
            lines = table.readlines()[1:]
        bound = {int(line.split()[1].partition(":")[2], 16) for line in lines}
        return {port for mixer in self.mixers for port in bound & set(mixer.place.rtp_ports)}

    async def remains(self) -> dict[str, object]:
        """Whatever there is of rooms, anywhere; empty values when nothing is."""
        found = await self.keys()
        return {
            "keys": sorted(key for key in found if not _is_of_the_fleet(key)),
            "ffmpegs": self.ffmpegs(),
            "janus rooms": await self.janus_rooms(),
            "files": self.files(),
            "ports": self.bound_ports(),
        }

    async def nothing_remains(self, within: float = PATIENCE_SECONDS) -> None:
        """Wait until no room has left a trace. Raises AssertionError that shows what has."""
        with anyio.move_on_after(within):
            while any((await self.remains()).values()):
                await anyio.sleep(POLL_SECONDS)
        left = await self.remains()
        assert not any(left.values()), left

    # -- beginning and end --------------------------------------------------------------------

    async def start_all(self) -> None:
        for janus_host in self.janus_hosts:
            janus_host.start()
        for daemon in (*self.room_managers, *self.mixers, *self.gateways):
            daemon.start()
        await self.ready()

    async def ready(self) -> None:
        """Wait until everything answers. Raises AssertionError with the logs."""
        with anyio.move_on_after(READY_SECONDS):
            while not await self._is_ready():
                for daemon in self.daemons:
                    daemon.assert_alive()
                await anyio.sleep(POLL_SECONDS)
            return
        raise AssertionError(f"not ready in {READY_SECONDS:g} s: {self.logs()}")

    async def _is_ready(self) -> bool:
        try:
            for url in self._readiness():
                if (await self.public.get(url)).status_code != 200:
                    return False
            modules = (await self.http.get("/api/modules")).json()["modules"]
        except httpx.TransportError:
            return False
        healthy = {m["moduleId"] for m in modules if m["health"] == "healthy"}
        mixers = {mixer.module_id for mixer in self.mixers}
        return healthy >= mixers | {host.module_id for host in self.janus_hosts}

    def _readiness(self) -> Iterator[str]:
        for number in range(len(self.room_managers)):
            yield f"{self.site.api_url(number)}/readyz"
        for number in range(len(self.gateways)):
            yield self.site.gateway_url(number).replace("ws://", "http://", 1) + "/readyz"

    async def aclose(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
        for janus_host in self.janus_hosts:
            janus_host.janus.kill()
        for mixer in self.mixers:
            mixer.end()
        await self.public.aclose()
        await self.http.aclose()
        if not self.etcds:
            await self.etcd.txn([], [DeletePrefix("/")])


def _is_of_the_fleet(key: str) -> bool:
    """A module's or a gateway's own, whatever rooms there are."""
    return key.endswith(NOT_OF_ROOMS) or key.startswith(keys.GATEWAYS)


@contextmanager
def _etcds(size: Size, shared_url: str) -> Iterator[tuple[list[EtcdServer], list[str]]]:
    if size.etcds == 0:
        yield [], [shared_url]
        return
    with cluster(size.etcds) as servers:
        yield servers, [server.url for server in servers]


@contextmanager
def _machines(folder: Path, size: Size) -> Iterator[list[Machine]]:
    with ExitStack() as blocks:
        yield [
            sites.machine(folder, number, blocks.enter_context(port_block()))
            for number in range(max(size.mixers, size.januses, size.gateways))
        ]


@asynccontextmanager
async def running(
    folder: Path,
    etcd_url: str,
    namespace: str,
    *,
    room_managers: int = 1,
    mixers: int = 1,
    januses: int = 1,
    etcds: int = 0,
    gateways: int = 0,
    capacity: int = 20,
    settings: Mapping[str, str] | None = None,
) -> AsyncGenerator[Stack]:
    """``settings``: ``ONAIR_…`` variables for every daemon. ``etcds`` > 0 ignores ``etcd_url``."""
    assert 1 <= room_managers <= MAX_ROOM_MANAGERS
    size = Size(room_managers, mixers, januses, etcds, gateways)
    with _machines(folder, size) as machines, _etcds(size, etcd_url) as (servers, urls):
        site = Site(folder, urls, namespace, machines, capacity, settings or {})
        etcd = EtcdClient(EtcdOptions(endpoints=urls, namespace=namespace, deadline=ETCD_SECONDS))
        stack = Stack(site, size, etcd, servers)
        try:
            await stack.start_all()
            yield stack
        finally:
            with anyio.CancelScope(shield=True):
                await stack.aclose()
                await etcd.aclose()
