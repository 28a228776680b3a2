"""Where one ``up`` stands: its folder, its ports, its module ids, and how many of each part.

The n-th mixer, Janus, room manager or gateway (n from 1) has the ports and folders of the first
with another number: see ``ports.plan``.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cli.janusconf import JanusSettings
from cli.ports import LOOPBACK, Ports
from cli.statedir import StateDir
from pkg.errors import ConfigError

MOST = 4  # of each part: as many blocks of ports as `--port-base` keeps apart


@dataclass(frozen=True, slots=True)
class JanusUrls:
    ws: str
    admin_ws: str
    admin_http: str


@dataclass(frozen=True, slots=True)
class Many:
    """How many of each; a Janus comes with its manager."""

    mixers: int = 1
    januses: int = 1
    room_managers: int = 1
    gateways: int = 1


@dataclass(frozen=True, slots=True)
class Site:
    """``etcd`` and ``other_janus`` already run elsewhere, if given."""

    state: StateDir
    ports: Ports
    etcd: str | None = None
    other_janus: JanusUrls | None = None
    many: Many = field(default_factory=Many)

    def __post_init__(self) -> None:
        if self.other_janus and self.many.januses > 1:
            raise ConfigError("--januses starts Januses, --janus uses one that runs: give one only")

    @property
    def api_url(self) -> str:
        """The first room manager's: what users are told."""
        return self.api_urls[0]

    @property
    def api_urls(self) -> list[str]:
        return [_http(self.block(n).api) for n in _numbers(self.many.room_managers)]

    @property
    def hls_urls(self) -> list[str]:
        return [_http(self.block(n).hls) for n in _numbers(self.many.mixers)]

    @property
    def gateway_urls(self) -> list[str]:
        """What browsers connect to."""
        return [self.gateway_url(n) for n in self.gateway_numbers]

    def gateway_url(self, n: int) -> str:
        return f"ws://{LOOPBACK}:{self.block(n).gateway}/ws"

    @property
    def streams_url(self) -> str:
        """Where streams are: rooms write their history there, and anyone may read it."""
        return f"{_http(self.ports.streams)}/v1/stream"

    @property
    def page_origins(self) -> list[str]:
        """Where browsers may have our pages from, under both names of this machine."""
        ports = [self.block(n).api for n in self.room_manager_numbers]
        return [f"http://{name}:{port}" for port in ports for name in (LOOPBACK, "localhost")]

    @property
    def etcd_url(self) -> str:
        return self.etcd or _http(self.ports.etcd_client)

    def seen_file(self, part: str) -> Path:
        """What a daemon knows of its etcd; one that was asked for by name is no surprise."""
        where = re.sub("[^A-Za-z0-9.-]+", "_", self.etcd_url.rpartition("//")[2])
        return self.state.path / f"{part}.{where}.seen"

    @property
    def janus_numbers(self) -> range:
        """The Januses that this ``up`` starts itself."""
        return range(0) if self.other_janus else _numbers(self.many.januses)

    @property
    def mixer_numbers(self) -> range:
        return _numbers(self.many.mixers)

    @property
    def room_manager_numbers(self) -> range:
        return _numbers(self.many.room_managers)

    @property
    def gateway_numbers(self) -> range:
        return _numbers(self.many.gateways)

    @property
    def januses(self) -> list[JanusUrls]:
        """All that are used, in the order of their managers."""
        if self.other_janus:
            return [self.other_janus]
        own = [self.janus_settings(n) for n in self.janus_numbers]
        return [JanusUrls(j.ws_url, j.admin_ws_url, j.admin_http_url) for j in own]

    def janus_settings(self, n: int) -> JanusSettings:
        block = self.block(n)
        return JanusSettings(
            admin_secret=self.secret("janus-admin-secret"),
            admin_key=self.secret("janus-admin-key"),
            ws_port=block.janus_ws,
            admin_ws_port=block.janus_admin_ws,
            admin_http_port=block.janus_admin_http,
            media_ports=block.janus_media,
        )

    @property
    def tcp_ports(self) -> list[int]:
        """What must be free: the ports of those parts that this ``up`` starts itself."""
        own_etcd = [] if self.etcd else [self.ports.etcd_client, self.ports.etcd_peer]
        janus = [self.block(n) for n in self.janus_numbers]
        return [
            *(self.block(n).api for n in self.room_manager_numbers),
            *(self.block(n).gateway for n in self.gateway_numbers),
            *(self.block(n).hls for n in self.mixer_numbers),
            *own_etcd,
            self.ports.streams,
            *(port for j in janus for port in (j.janus_ws, j.janus_admin_ws, j.janus_admin_http)),
        ]

    def block(self, n: int) -> Ports:
        """The ports of the n-th of each part. Raises ConfigError if they do not exist."""
        return self.ports.block(n)

    def secret(self, name: str) -> str:
        return self.state.secret(name).read_text().strip()

    def module_id(self, kind: str, n: int = 1) -> str:
        """Kept over restarts, and no other ``up``'s: a mixer finds its FFmpegs by its id."""
        return numbered(f"{kind}-{self.ports.base}", n)


def numbered(name: str, n: int) -> str:
    """The first keeps the bare name.

    >>> numbered("mixer", 1), numbered("mixer", 2)
    ('mixer', 'mixer-2')
    """
    return name if n == 1 else f"{name}-{n}"


def _numbers(many: int) -> range:
    return range(1, many + 1)


def _http(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def janus_urls(url: str) -> JanusUrls:
    """All addresses of a Janus from one of its admin API: Janus's default ports, or ``up``'s.

    >>> janus_urls("ws://10.0.0.5:7188").ws, janus_urls("http://h:8087/admin").admin_ws
    ('ws://10.0.0.5:8188', 'ws://h:8086')
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("ws", "http") and parts.hostname is not None
        port = parts.port
    except ValueError:
        known, port = False, None
    if not known or port is None:
        raise ConfigError(
            f"--janus {url}: give its admin API, ws://HOST:7188 or http://HOST:7088/admin"
        )
    http = parts.scheme == "http"
    if port in (7088, 7188):
        ws, admin_ws, admin_http = 8188, 7188, 7088
    else:
        admin_http = port if http else port + 1
        ws, admin_ws = admin_http - 2, admin_http - 1
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    path = parts.path if http and parts.path else "/admin"
    return JanusUrls(
        f"ws://{host}:{ws}", f"ws://{host}:{admin_ws}", f"http://{host}:{admin_http}{path}"
    )
