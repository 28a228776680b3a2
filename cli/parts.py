"""What ``up`` runs: each part's command, environment, order and readiness. No process here.

Secrets travel as files only: neither ``ps`` nor ``/proc/PID/environ`` shows one.
"""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from cli import ready
from cli.janusconf import JanusSettings
from cli.leftovers import MARK
from cli.ports import LOOPBACK, MIXER_PORTS, Ports
from cli.programs import Version
from cli.statedir import ROOT, StateDir
from cli.supervisor import Part, Probe
from pkg.errors import ConfigError

DAEMONS_RANK, JANUS_RANK, ETCD_RANK = 0, 1, 2  # control stops first, the state last
ETCD_QUOTA_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class JanusUrls:
    ws: str
    admin_ws: str
    admin_http: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where one ``up`` stands. ``etcd`` and ``other_janus`` already run elsewhere, if given."""

    state: StateDir
    ports: Ports
    etcd: str | None = None
    other_janus: JanusUrls | None = None

    @property
    def api_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.api}"

    @property
    def hls_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.hls}"

    @property
    def etcd_url(self) -> str:
        return self.etcd or f"http://{LOOPBACK}:{self.ports.etcd_client}"

    @property
    def janus(self) -> JanusUrls:
        if self.other_janus:
            return self.other_janus
        own = self.janus_settings
        return JanusUrls(own.ws_url, own.admin_ws_url, own.admin_http_url)

    @property
    def janus_settings(self) -> JanusSettings:
        return JanusSettings(
            admin_secret=self.secret("janus-admin-secret"),
            admin_key=self.secret("janus-admin-key"),
            ws_port=self.ports.janus_ws,
            admin_ws_port=self.ports.janus_admin_ws,
            admin_http_port=self.ports.janus_admin_http,
            media_ports=self.ports.janus_media,
        )

    @property
    def tcp_ports(self) -> list[int]:
        """What must be free: the ports of those parts that this ``up`` starts itself."""
        p = self.ports
        own_etcd = [] if self.etcd else [p.etcd_client, p.etcd_peer]
        own_janus = [] if self.other_janus else [p.janus_ws, p.janus_admin_ws, p.janus_admin_http]
        return [p.api, p.hls, *own_etcd, *own_janus]

    def secret(self, name: str) -> str:
        return self.state.secret(name).read_text().strip()

    def module_id(self, kind: str) -> str:
        """Kept over restarts, and no other ``up``'s: a mixer finds its FFmpegs by its id."""
        return f"{kind}-{self.ports.base}"


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


def etcd_argv(site: Site, version: Version) -> tuple[str, ...]:
    """Watch bookmarks each second are what our informers count on (facts: etcd)."""
    client, peer = site.etcd_url, f"http://{LOOPBACK}:{site.ports.etcd_peer}"
    bookmarks = "watch-progress-notify-interval=1s"
    return (
        "etcd",
        "--name=onair",
        f"--data-dir={site.state.path / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=onair={peer}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        f"--quota-backend-bytes={ETCD_QUOTA_BYTES}",
        "--logger=zap",
        f"--{bookmarks}" if version >= (3, 6) else f"--experimental-{bookmarks}",
    )


def build(
    site: Site, client: httpx.AsyncClient, etcd_version: Version, environ: Mapping[str, str]
) -> list[Part]:
    """All parts of one ``up``. ``environ`` is the caller's environment, which they inherit."""
    api_key = site.secret("api-key")
    parts = [
        _daemon(
            site,
            environ,
            "room-manager",
            room_manager_env(site),
            ready.room_manager(client, site.api_url),
        ),
        _daemon(
            site,
            environ,
            "janus-manager",
            janus_manager_env(site),
            ready.module(client, site.api_url, api_key, "janus", site.module_id("janus")),
        ),
        _daemon(
            site,
            environ,
            "mixer",
            mixer_env(site),
            ready.module(client, site.api_url, api_key, "mixer", site.module_id("mixer")),
        ),
    ]
    if site.other_janus is None:
        parts.insert(0, _janus(site, client, environ))
    if site.etcd is None:
        parts.insert(0, _etcd(site, client, etcd_version, environ))
    return parts


def _etcd(
    site: Site, client: httpx.AsyncClient, version: Version, environ: Mapping[str, str]
) -> Part:
    # ETCD_* of the caller's would change our etcd behind the flags
    env = {name: value for name, value in environ.items() if not name.startswith("ETCD_")}
    if platform.machine() == "aarch64":
        env["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # 3.4 refuses to start otherwise
    return Part(
        name="etcd",
        argv=etcd_argv(site, version),
        env=env | _mark(site),
        cwd=site.state.path,
        log=site.state.log("etcd"),
        ready=ready.etcd(client, site.etcd_url),
        stop_rank=ETCD_RANK,
    )


def _janus(site: Site, client: httpx.AsyncClient, environ: Mapping[str, str]) -> Part:
    secret = site.secret("janus-admin-secret")
    return Part(
        name="janus",
        argv=("janus", "-F", str(site.state.path / "janus")),
        env=dict(environ) | _mark(site),
        cwd=site.state.path,
        log=site.state.log("janus"),
        ready=ready.janus(client, site.janus.admin_http, secret),
        stop_rank=JANUS_RANK,
        stop_seconds=3.0,
    )


def _daemon(
    site: Site, environ: Mapping[str, str], name: str, own: Mapping[str, str], probe: Probe
) -> Part:
    common = {
        "ONAIR_ETCD_ENDPOINTS": site.etcd_url,
        "ONAIR_MASTER_SECRET_FILE": str(site.state.secret("master")),
        "ONAIR_LOG_FORMAT": "json",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    return Part(
        name=name,
        argv=(sys.executable, "-P", "-m", name.replace("-", "")),
        env={**environ, **common, **own, **_mark(site)},
        cwd=site.state.path,
        log=site.state.log(name),
        ready=probe,
        needs=("etcd",),
        stop_rank=DAEMONS_RANK,
    )


def _mark(site: Site) -> dict[str, str]:
    return {MARK: str(site.state.path)}


def room_manager_env(site: Site) -> dict[str, str]:
    return _prefixed(
        "ROOM_MANAGER",
        LISTEN=f"{LOOPBACK}:{site.ports.api}",
        API_KEY_FILE=site.state.secret("api-key"),
        PUBLIC_URL=site.api_url,
    )


def janus_manager_env(site: Site) -> dict[str, str]:
    return _prefixed(
        "JANUS_MANAGER",
        ID=site.module_id("janus"),
        ADMIN_URL=site.janus.admin_ws,
        ADMIN_HTTP_URL=site.janus.admin_http,
        WS_URL=site.janus.ws,
        ADMIN_SECRET_FILE=site.state.secret("janus-admin-secret"),
        ADMIN_KEY_FILE=site.state.secret("janus-admin-key"),
    )


def mixer_env(site: Site) -> dict[str, str]:
    return _prefixed(
        "MIXER",
        ID=site.module_id("mixer"),
        LISTEN=f"{LOOPBACK}:{site.ports.hls}",
        ADDRESS=LOOPBACK,
        RTP_PORT_BASE=site.ports.mixer_rtp,
        RTP_PORTS=MIXER_PORTS,
        MEDIA_DIR=site.state.path / "media",
        RUN_DIR=site.state.path / "run",
    )


def _prefixed(service: str, **settings: object) -> dict[str, str]:
    return {f"ONAIR_{service}_{name}": str(value) for name, value in settings.items()}
