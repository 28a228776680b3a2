"""What ``up`` runs: each part's command, environment, order and readiness. No process here.

Secrets travel as files only: neither ``ps`` nor ``/proc/PID/environ`` shows one.
"""

import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from cli import ready
from cli.leftovers import MARK
from cli.ports import LOOPBACK, MIXER_PORTS
from cli.programs import Version
from cli.site import Site, numbered
from cli.statedir import ROOT
from cli.supervisor import Part, Probe

DAEMONS_RANK, JANUS_RANK, ETCD_RANK = 0, 1, 2  # control stops first, the state last
ETCD_QUOTA_BYTES = 2 * 1024**3
# The daemons' commands, and the Python modules behind them.
MODULES = {
    "room-manager": "roommanager",
    "janus-manager": "janusmanager",
    "mixer": "mixer",
    "gateway": "wsgateway",
    "streams": "streams",
}


OURS = {"ONAIR_LOG_FORMAT": "json", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


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
    parts = [
        *(_janus(site, n, client, environ) for n in site.janus_numbers),
        *(_room_manager(site, n, client, environ) for n in site.room_manager_numbers),
        *(_janus_manager(site, n, client, environ) for n in range(1, len(site.januses) + 1)),
        *(_mixer(site, n, client, environ) for n in site.mixer_numbers),
        *(_gateway(site, n, client, environ) for n in site.gateway_numbers),
    ]
    parts.append(_streams(site, client, environ))
    return parts if site.etcd else [_etcd(site, client, etcd_version, environ), *parts]


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


def _janus(site: Site, n: int, client: httpx.AsyncClient, environ: Mapping[str, str]) -> Part:
    secret = site.secret("janus-admin-secret")
    name = numbered("janus", n)
    return Part(
        name=name,
        argv=("janus", "-F", str(janus_folder(site, n))),
        env=dict(environ) | _mark(site),
        cwd=site.state.path,
        log=site.state.log(name),
        ready=ready.janus(client, site.januses[n - 1].admin_http, secret),
        stop_rank=JANUS_RANK,
        stop_seconds=3.0,
    )


def janus_folder(site: Site, n: int) -> Path:
    """Where the n-th Janus's configuration stands."""
    return site.state.path / numbered("janus", n)


def _room_manager(
    site: Site, n: int, client: httpx.AsyncClient, environ: Mapping[str, str]
) -> Part:
    probe = ready.daemon(client, site.api_urls[n - 1])
    return _daemon(site, environ, "room-manager", n, room_manager_env(site, n), probe)


def _janus_manager(
    site: Site, n: int, client: httpx.AsyncClient, environ: Mapping[str, str]
) -> Part:
    own, probe = janus_manager_env(site, n), _registered(site, client, "janus", n)
    return _daemon(site, environ, "janus-manager", n, own, probe)


def _mixer(site: Site, n: int, client: httpx.AsyncClient, environ: Mapping[str, str]) -> Part:
    probe = _registered(site, client, "mixer", n)
    return _daemon(site, environ, "mixer", n, mixer_env(site, n), probe)


def _gateway(site: Site, n: int, client: httpx.AsyncClient, environ: Mapping[str, str]) -> Part:
    probe = ready.daemon(client, f"http://{LOOPBACK}:{site.block(n).gateway}")
    return _daemon(site, environ, "gateway", n, gateway_env(site, n), probe)


def _streams(site: Site, client: httpx.AsyncClient, environ: Mapping[str, str]) -> Part:
    """Who knows the API key may write streams; on loopback anyone may read them."""
    own = _prefixed(
        "STREAMS",
        DATA_DIR=site.state.path / "streams",
        PORT=site.ports.streams,
        API_KEY_FILE=site.state.secret("api-key"),
    )
    probe = ready.daemon(client, f"http://{LOOPBACK}:{site.ports.streams}")
    return Part(
        name="streams",
        argv=(sys.executable, "-P", "-m", MODULES["streams"]),
        env={**environ, **OURS, **own, **_mark(site)},
        cwd=site.state.path,
        log=site.state.log("streams"),
        ready=probe,
        stop_rank=DAEMONS_RANK,
    )


def _registered(site: Site, client: httpx.AsyncClient, kind: str, n: int) -> Probe:
    key, module_id = site.secret("api-key"), site.module_id(kind, n)
    return ready.module(client, site.api_url, key, kind, module_id)


def _daemon(
    site: Site,
    environ: Mapping[str, str],
    program: str,
    n: int,
    own: Mapping[str, str],
    probe: Probe,
) -> Part:
    name = numbered(program, n)
    common = {
        "ONAIR_ETCD_ENDPOINTS": site.etcd_url,
        "ONAIR_ETCD_SEEN_FILE": str(site.seen_file(name)),
        "ONAIR_MASTER_SECRET_FILE": str(site.state.secret("master")),
        "ONAIR_EVENTS_URL": site.streams_url,
        "ONAIR_EVENTS_KEY_FILE": str(site.state.secret("api-key")),
        "ONAIR_EVENTS_DIR": str(site.state.path / "events"),
        **OURS,
    }
    return Part(
        name=name,
        argv=(sys.executable, "-P", "-m", MODULES[program]),
        env={**environ, **common, **own, **_mark(site)},
        cwd=site.state.path,
        log=site.state.log(name),
        ready=probe,
        needs=("etcd",),
        stop_rank=DAEMONS_RANK,
    )


def _mark(site: Site) -> dict[str, str]:
    return {MARK: str(site.state.path)}


def room_manager_env(site: Site, n: int = 1) -> dict[str, str]:
    return _prefixed(
        "ROOM_MANAGER",
        LISTEN=f"{LOOPBACK}:{site.block(n).api}",
        API_KEY_FILE=site.state.secret("api-key"),
        PUBLIC_URL=site.api_url,  # one address for users, whichever of them answers
    )


def janus_manager_env(site: Site, n: int = 1) -> dict[str, str]:
    janus = site.januses[n - 1]
    return _prefixed(
        "JANUS_MANAGER",
        ID=site.module_id("janus", n),
        ADMIN_URL=janus.admin_ws,
        ADMIN_HTTP_URL=janus.admin_http,
        WS_URL=janus.ws,
        ADMIN_SECRET_FILE=site.state.secret("janus-admin-secret"),
        ADMIN_KEY_FILE=site.state.secret("janus-admin-key"),
    )


def mixer_env(site: Site, n: int = 1) -> dict[str, str]:
    block = site.block(n)
    return _prefixed(
        "MIXER",
        ID=site.module_id("mixer", n),
        LISTEN=f"{LOOPBACK}:{block.hls}",
        ADDRESS=LOOPBACK,
        RTP_PORT_BASE=block.mixer_rtp,
        RTP_PORTS=MIXER_PORTS,
        MEDIA_DIR=site.state.path / numbered("media", n),
        RUN_DIR=site.state.path / numbered("run", n),
    )


def gateway_env(site: Site, n: int = 1) -> dict[str, str]:
    return _prefixed(
        "GATEWAY",
        ID=site.module_id("gateway", n),
        LISTEN=f"{LOOPBACK}:{site.block(n).gateway}",
        PUBLIC_URL=site.gateway_url(n),
        ALLOWED_ORIGINS=",".join(site.page_origins),
    )


def _prefixed(service: str, **settings: object) -> dict[str, str]:
    return {f"ONAIR_{service}_{name}": str(value) for name, value in settings.items()}
