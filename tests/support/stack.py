"""A whole Onair for one test: real etcd (own prefix), own Janus, our daemons as real processes.

``async with running(folder, etcd_url, namespace) as stack`` answers once the room manager is
ready and both modules are healthy. Everything has its own ports, folders, ids and secrets, so
that any number of tests may run beside each other. At the end nothing is left: no process, no
FFmpeg, no key. Any part may be killed and started again: ``stack.mixer.kill()``.
"""

import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil

from cli.janusconf import JanusSettings
from janusmanager import messages
from pkg import keys
from pkg.etcd.api import DeletePrefix, Etcd
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import JanusState, RoomId
from pkg.secrets import host_pin
from tests.support.bot import Bot
from tests.support.daemon import Daemon
from tests.support.ffmpeg import HERE, end_all
from tests.support.janus import RealJanus

READY_SECONDS = 40.0  # two cores, shared with other tests that start at the same time
POLL_SECONDS = 0.05

# A block of ports per stack, below the kernel's own range and below where `up` and the Janus
# tests take theirs. TCP on the first number is the lock: the kernel frees it, whoever dies.
FIRST_PORT, BLOCK, BLOCKS = 4000, 200, 30
TCP_PORTS, MIXER_PORTS, JANUS_PORTS = 10, 140, 40
MAX_ROOM_MANAGERS = 4


async def until(fact: Callable[[], Awaitable[object]], within: float = 20.0) -> None:
    """Wait for a condition. Raises TimeoutError."""
    with anyio.fail_after(within):
        while not await fact():
            await anyio.sleep(POLL_SECONDS)


@contextmanager
def port_block() -> Iterator[int]:
    """The first of ``BLOCK`` ports that nobody else has while the body runs."""
    start = secrets.randbelow(BLOCKS)
    for n in range(BLOCKS):
        first = FIRST_PORT + BLOCK * ((start + n) % BLOCKS)
        with closing(socket.socket()) as lock:
            if not _bind(lock, first):
                continue
            if all(_is_free(port) for port in range(first + 1, first + TCP_PORTS)):
                yield first
                return
    raise RuntimeError(f"no block of {BLOCK} ports is free from {FIRST_PORT} on")


def _bind(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((HERE, port))
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _bind(probe, port)


async def host(etcd: Etcd, master: bytes, room: str, hertz: float) -> Bot:
    """One who plays a tone in the room, found by what etcd says of it; not entered yet."""
    found = await etcd.get(keys.room(RoomId(room), "janus"))
    assert found is not None
    janus = JanusState.decode(found.value)
    assert janus.endpoints.ws is not None
    pin = host_pin(master, room, janus.epoch)
    return Bot(janus.endpoints.ws, janus.janus_room_id, pin, hertz)


@dataclass(frozen=True)
class Site:
    """Where one stack stands, and what its parts are told."""

    folder: Path
    first_port: int
    etcd_url: str
    namespace: str
    name: str  # of its modules; unique on this host, as FFmpegs are found by it
    master: bytes
    api_key: str
    janus: JanusSettings

    @property
    def janus_id(self) -> str:
        return f"janus-{self.name}"

    @property
    def mixer_id(self) -> str:
        return f"mixer-{self.name}"

    @property
    def media(self) -> Path:
        return self.folder / "media"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def rtp_ports(self) -> range:
        return range(self.first_port + TCP_PORTS, self.first_port + TCP_PORTS + MIXER_PORTS)

    def api_url(self, number: int = 0) -> str:
        return f"http://{HERE}:{self.first_port + 5 + number}"

    @property
    def origin_url(self) -> str:
        return f"http://{HERE}:{self.first_port + 4}"

    def secret(self, name: str, value: bytes) -> str:
        """Path of a file that holds it."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(value)
        return str(path)


def _site(folder: Path, first: int, etcd_url: str, namespace: str) -> Site:
    media = first + TCP_PORTS + MIXER_PORTS
    return Site(
        folder=folder,
        first_port=first,
        etcd_url=etcd_url,
        namespace=namespace,
        name=secrets.token_hex(4),
        master=secrets.token_hex(24).encode(),
        api_key=secrets.token_hex(16),
        janus=JanusSettings(
            admin_secret=secrets.token_hex(16),
            admin_key=secrets.token_hex(16),
            ws_port=first + 1,
            admin_ws_port=first + 2,
            admin_http_port=first + 3,
            media_ports=(media, media + JANUS_PORTS - 1),
            log_level=3,
        ),
    )


def _common(site: Site) -> dict[str, str]:
    return {
        "ONAIR_ETCD_ENDPOINTS": site.etcd_url,
        "ONAIR_ETCD_PREFIX": site.namespace,
        "ONAIR_MASTER_SECRET_FILE": site.secret("master", site.master),
        "ONAIR_LOG_FORMAT": "console",
        "NO_COLOR": "1",
    }


def _room_manager(site: Site, number: int) -> Daemon:
    own = {
        "ONAIR_ROOM_MANAGER_LISTEN": site.api_url(number).removeprefix("http://"),
        "ONAIR_ROOM_MANAGER_PUBLIC_URL": site.api_url(0),
        "ONAIR_ROOM_MANAGER_API_KEY_FILE": site.secret("api-key", site.api_key.encode()),
    }
    return Daemon(f"room-manager-{number}", "roommanager", _common(site) | own, site.folder)


def _janus_manager(site: Site, capacity: int) -> Daemon:
    janus = site.janus
    own = {
        "ID": site.janus_id,
        "ADMIN_URL": janus.admin_ws_url,
        "ADMIN_HTTP_URL": janus.admin_http_url,
        "WS_URL": janus.ws_url,
        "ADMIN_SECRET_FILE": site.secret("janus-secret", janus.admin_secret.encode()),
        "ADMIN_KEY_FILE": site.secret("janus-key", janus.admin_key.encode()),
        "CAPACITY": str(capacity),
    }
    named = {f"ONAIR_JANUS_MANAGER_{name}": value for name, value in own.items()}
    return Daemon("janus-manager", "janusmanager", _common(site) | named, site.folder)


def _mixer(site: Site, capacity: int) -> Daemon:
    own = {
        "ID": site.mixer_id,
        "LISTEN": site.origin_url.removeprefix("http://"),
        "ADDRESS": HERE,
        "RTP_PORT_BASE": str(site.rtp_ports[0]),
        "RTP_PORTS": str(MIXER_PORTS),
        "CAPACITY": str(capacity),
        "MEDIA_DIR": str(site.media),
        "RUN_DIR": str(site.run),
    }
    named = {f"ONAIR_MIXER_{name}": value for name, value in own.items()}
    return Daemon("mixer", "mixer", _common(site) | named, site.folder)


class Stack:
    """``http`` is the owner's client (API key), ``public`` a stranger's (none)."""

    def __init__(
        self, site: Site, janus: RealJanus, etcd: EtcdClient, managers: int, capacity: int
    ) -> None:
        self.site = site
        self.janus = janus
        self.etcd = etcd
        self.room_managers = [_room_manager(site, n) for n in range(managers)]
        self.janus_manager = _janus_manager(site, capacity)
        self.mixer = _mixer(site, capacity)
        self.public = httpx.AsyncClient(base_url=site.api_url(), trust_env=False, timeout=15)
        self.http = httpx.AsyncClient(
            base_url=site.api_url(),
            headers={"Authorization": f"Bearer {site.api_key}"},
            trust_env=False,
            timeout=20,
        )

    @property
    def daemons(self) -> list[Daemon]:
        return [*self.room_managers, self.janus_manager, self.mixer]

    def logs(self) -> dict[str, str]:
        """What each part said last, for a failed test's report."""
        janus = self.janus.log_path.read_text(errors="replace")[-3000:]
        ffmpeg = {str(path): path.read_text()[-2000:] for path in self.site.run.glob("*/log")}
        return {daemon.name: daemon.tail() for daemon in self.daemons} | {"janus": janus} | ffmpeg

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

    async def start(self, room: str, wait: float = 20) -> dict[str, Any]:
        return await self.call("POST", f"/rooms/{room}/start?wait={wait:g}")

    async def status(self, room: str) -> str:
        """``gone`` for a room that does not exist."""
        answer = await self.http.get(f"/api/rooms/{room}")
        return "gone" if answer.status_code == 404 else str(answer.json()["status"])

    async def becomes(self, room: str, status: str, within: float = 20.0) -> None:
        async def there() -> bool:
            return await self.status(room) == status

        await until(there, within)

    async def keys(self) -> dict[str, bytes]:
        """All of our etcd, without the prefix."""
        found = await self.etcd.range("/")
        return {kv.key: kv.value for kv in found.kvs}

    async def bot(self, room: str, hertz: float) -> Bot:
        return await host(self.etcd, self.site.master, room, hertz)

    # -- looking at what really runs --------------------------------------------------------

    def ffmpegs(self) -> dict[str, list[int]]:
        """room → pids of the living FFmpegs of this stack's mixer"""
        found: dict[str, list[int]] = {}
        for pid, environment in marked("ONAIR_MIXER", self.site.mixer_id):
            found.setdefault(environment["ONAIR_ROOM"], []).append(pid)
        return found

    async def janus_rooms(self) -> list[str]:
        """The AudioBridge's rooms, by their descriptions."""
        settings = self.site.janus
        body = messages.plugin({"request": "list", "admin_key": settings.admin_key})
        message = body | {"transaction": "t", "admin_secret": settings.admin_secret}
        answer = await self.public.post(settings.admin_http_url, json=message)
        return [room["description"] for room in answer.json()["response"]["list"]]

    def files(self) -> list[str]:
        """Files and folders of rooms, served and private."""
        return sorted(
            str(path.relative_to(self.site.folder))
            for folder in (self.site.media, self.site.run)
            for path in folder.rglob("*")
        )

    def bound_ports(self) -> set[int]:
        """UDP ports of our mixer's range that somebody has bound."""
        with open("/proc/net/udp") as table:
            lines = table.readlines()[1:]
        bound = {int(line.split()[1].partition(":")[2], 16) for line in lines}
        return bound & set(self.site.rtp_ports)

    async def remains(self) -> dict[str, object]:
        """Whatever there is of rooms, anywhere; empty values when nothing is."""
        found = await self.keys()
        return {
            "keys": sorted(key for key in found if not key.endswith("/heartbeat")),
            "ffmpegs": self.ffmpegs(),
            "janus rooms": await self.janus_rooms(),
            "files": self.files(),
            "ports": self.bound_ports(),
        }

    async def nothing_remains(self, within: float = 20.0) -> None:
        """Wait until no room has left a trace. Raises AssertionError that shows what has."""
        with anyio.move_on_after(within):
            while any((await self.remains()).values()):
                await anyio.sleep(POLL_SECONDS)
        left = await self.remains()
        assert not any(left.values()), left

    # -- beginning and end --------------------------------------------------------------------

    async def start_all(self) -> None:
        self.janus.start()
        for daemon in self.daemons:
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
            for number in range(len(self.room_managers)):
                answer = await self.public.get(f"{self.site.api_url(number)}/readyz")
                if answer.status_code != 200:
                    return False
            modules = (await self.http.get("/api/modules")).json()["modules"]
        except httpx.TransportError:
            return False
        return sorted(m["kind"] for m in modules if m["health"] == "healthy") == ["janus", "mixer"]

    async def aclose(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
        self.janus.kill()
        end_all(self.site.run)
        await self.public.aclose()
        await self.http.aclose()
        await self.etcd.txn([], [DeletePrefix("/")])


def marked(name: str, value: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Living processes whose environment holds ``name=value``; psutil as a second witness."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and environment.get(name) == value:
            yield process.pid, environment


@asynccontextmanager
async def running(
    folder: Path, etcd_url: str, namespace: str, *, room_managers: int = 1, capacity: int = 20
) -> AsyncGenerator[Stack]:
    assert 1 <= room_managers <= MAX_ROOM_MANAGERS
    with port_block() as first:
        site = _site(folder, first, etcd_url, namespace)
        etcd = EtcdClient(EtcdOptions(endpoints=(etcd_url,), namespace=namespace))
        janus = RealJanus(folder / "janus", site.janus)
        stack = Stack(site, janus, etcd, room_managers, capacity)
        try:
            await stack.start_all()
            yield stack
        finally:
            with anyio.CancelScope(shield=True):
                await stack.aclose()
                await etcd.aclose()
