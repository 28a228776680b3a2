"""Where a test's stack stands, machine by machine, and its daemons with what they are told.

Machine ``n`` has a block of ports and a folder of its own, and at most one mixer, one Janus and
one gateway.
The room managers live on machine 0.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.janusconf import JanusSettings
from tests.support.daemon import Daemon
from tests.support.ffmpeg import HERE
from tests.support.ports import JANUS_PORTS, MIXER_PORTS, TCP_PORTS


@dataclass(frozen=True)
class Machine:
    number: int
    folder: Path
    first_port: int
    name: str  # of its modules; unique on this computer, as FFmpegs are found by it
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

    @property
    def origin_url(self) -> str:
        return f"http://{HERE}:{self.first_port + 4}"

    @property
    def gateway_id(self) -> str:
        return f"gateway-{self.name}"

    @property
    def gateway_listen(self) -> str:
        return f"{HERE}:{self.first_port + 9}"

    def called(self, part: str) -> str:
        """``mixer``, ``mixer-1``, …: in reports and as the log's name."""
        return f"{part}-{self.number}" if self.number else part


@dataclass(frozen=True)
class Site:
    """``settings``: variables that every daemon gets besides, to be set to extremes."""

    folder: Path
    etcd_urls: Sequence[str]
    namespace: str
    machines: Sequence[Machine]
    capacity: int = 20
    settings: Mapping[str, str] = field(default_factory=dict)
    master: bytes = field(default_factory=lambda: secrets.token_hex(24).encode())
    api_key: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def etcd_url(self) -> str:
        return self.etcd_urls[0]

    @property
    def janus_id(self) -> str:
        return self.machines[0].janus_id

    @property
    def mixer_id(self) -> str:
        return self.machines[0].mixer_id

    def api_url(self, number: int = 0) -> str:
        return f"http://{HERE}:{self.machines[0].first_port + 5 + number}"

    def gateway_url(self, number: int = 0) -> str:
        """Without the path."""
        return f"ws://{self.machines[number].gateway_listen}"

    def secret(self, name: str, value: bytes) -> str:
        """Path of a file that holds it."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(value)
        return str(path)


def machine(folder: Path, number: int, first_port: int) -> Machine:
    """Machine 0 stands in the stack's folder itself, the others in one of their own."""
    own = folder / f"machine-{number}" if number else folder
    own.mkdir(exist_ok=True)
    media = first_port + TCP_PORTS + MIXER_PORTS
    janus = JanusSettings(
        admin_secret=secrets.token_hex(16),
        admin_key=secrets.token_hex(16),
        ws_port=first_port + 1,
        admin_ws_port=first_port + 2,
        admin_http_port=first_port + 3,
        media_ports=(media, media + JANUS_PORTS - 1),
        log_level=3,
    )
    return Machine(number, own, first_port, secrets.token_hex(4), janus)


def _common(site: Site) -> dict[str, str]:
    return {
        "ONAIR_ETCD_ENDPOINTS": ",".join(site.etcd_urls),
        "ONAIR_ETCD_PREFIX": site.namespace,
        "ONAIR_MASTER_SECRET_FILE": site.secret("master", site.master),
        "ONAIR_LOG_FORMAT": "console",
        "NO_COLOR": "1",
        **site.settings,
    }


def room_manager(site: Site, number: int) -> Daemon:
    own = {
        "ONAIR_ROOM_MANAGER_LISTEN": site.api_url(number).removeprefix("http://"),
        "ONAIR_ROOM_MANAGER_PUBLIC_URL": site.api_url(0),
        "ONAIR_ROOM_MANAGER_API_KEY_FILE": site.secret("api-key", site.api_key.encode()),
    }
    return Daemon(f"room-manager-{number}", "roommanager", _common(site) | own, site.folder)


def gateway(site: Site, place: Machine) -> Daemon:
    """Lets the pages of all room managers in."""
    own = {
        "ID": place.gateway_id,
        "LISTEN": place.gateway_listen,
        "ALLOWED_ORIGINS": ",".join(site.api_url(n) for n in range(4)),
    }
    env = _common(site) | {f"ONAIR_GATEWAY_{name}": value for name, value in own.items()}
    return Daemon(place.called("gateway"), "wsgateway", env, site.folder)


def janus_manager_env(site: Site, place: Machine) -> dict[str, str]:
    janus = place.janus
    own = {
        "ID": place.janus_id,
        "ADMIN_URL": janus.admin_ws_url,
        "ADMIN_HTTP_URL": janus.admin_http_url,
        "WS_URL": janus.ws_url,
        "ADMIN_SECRET_FILE": site.secret(place.called("janus-secret"), janus.admin_secret.encode()),
        "ADMIN_KEY_FILE": site.secret(place.called("janus-key"), janus.admin_key.encode()),
        "CAPACITY": str(site.capacity),
    }
    return _common(site) | {f"ONAIR_JANUS_MANAGER_{name}": value for name, value in own.items()}


def mixer_env(site: Site, place: Machine) -> dict[str, str]:
    own = {
        "ID": place.mixer_id,
        "LISTEN": place.origin_url.removeprefix("http://"),
        "ADDRESS": HERE,
        "RTP_PORT_BASE": str(place.rtp_ports[0]),
        "RTP_PORTS": str(MIXER_PORTS),
        "CAPACITY": str(site.capacity),
        "MEDIA_DIR": str(place.media),
        "RUN_DIR": str(place.run),
    }
    return _common(site) | {f"ONAIR_MIXER_{name}": value for name, value in own.items()}
