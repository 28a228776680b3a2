"""The configuration of a Janus that belongs to one machine's Onair: settings in, files out.

Called by ``up`` and by the tests that start a real Janus. Only what Onair uses is loaded
(AudioBridge, WebSockets, the admin HTTP server), and everything listens on one address,
loopback unless told otherwise. Secrets are in the files (mode 0600), never in argv, where any
user could read them: start it as ``janus -F FOLDER`` and nothing else.

Hosts and bots need no API secret: on loopback they are stopped by the room's pin. The Janus API
over plain HTTP is off. Checked with Janus 1.1.2; the syntax is libconfig's
(https://janus.conf.meetecho.com/docs/README.html).
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from pkg.errors import ConfigError

SHORTEST_SECRET = 16

_PLUGINS = (
    "duktape",
    "echotest",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "videoroom",
    "voicemail",
)
_TRANSPORTS = ("mqtt", "nanomsg", "pfunix", "rabbitmq")
_LOGGERS = ("jsonlog",)
_EVENT_HANDLERS = ("gelfevh", "mqttevh", "nanomsgevh", "rabbitmqevh", "sampleevh", "wsevh")


@dataclass(frozen=True, slots=True)
class JanusSettings:
    """One Janus. ``media_ports`` are UDP, split evenly between WebRTC and plain-RTP guests.

    ``log_level`` is Janus's own: 2 errors, 3 warnings, 4 start-up and notable facts.
    """

    admin_secret: str
    admin_key: str
    ws_port: int
    admin_ws_port: int
    admin_http_port: int
    media_ports: tuple[int, int]  # first, last
    address: str = "127.0.0.1"
    log_level: int = 4
    server_name: str = "onair"

    def __repr__(self) -> str:  # never show a secret
        return f"JanusSettings(address={self.address!r}, ws_port={self.ws_port})"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._authority(self.ws_port)}"

    @property
    def admin_ws_url(self) -> str:
        return f"ws://{self._authority(self.admin_ws_port)}"

    @property
    def admin_http_url(self) -> str:
        return f"http://{self._authority(self.admin_http_port)}/admin"

    def _authority(self, port: int) -> str:
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"


def render(settings: JanusSettings) -> dict[str, str]:
    """File name → text, for one folder. Raises ConfigError on what Janus would misread."""
    _check(settings)
    return {
        "janus.jcfg": _core(settings),
        "janus.plugin.audiobridge.jcfg": _audiobridge(settings),
        "janus.transport.websockets.jcfg": _websockets(settings),
        "janus.transport.http.jcfg": _http(settings),
    }


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a rendered configuration: folder 0700, files 0600 from their first byte on."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text, encoding="ascii")


def _check(settings: JanusSettings) -> None:
    for name in ("admin_secret", "admin_key"):
        if not re.fullmatch(rf"[A-Za-z0-9_-]{{{SHORTEST_SECRET},128}}", getattr(settings, name)):
            raise ConfigError(
                f"Janus's {name} must be {SHORTEST_SECRET} to 128 letters, digits, '_' or '-'; "
                "make one with: openssl rand -hex 32"
            )
    if settings.admin_secret == settings.admin_key:
        raise ConfigError("Janus's admin_secret and admin_key must differ")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", settings.server_name):
        raise ConfigError("Janus's server_name may hold letters, digits, '_', '.' and '-' only")
    _check_network(settings)


def _check_network(settings: JanusSettings) -> None:
    try:
        ipaddress.ip_address(settings.address)
    except ValueError as error:
        raise ConfigError(f"Janus's address must be an IP address: {error}") from None
    ports = (settings.ws_port, settings.admin_ws_port, settings.admin_http_port)
    first, last = settings.media_ports
    if any(not 0 < port < 65536 for port in (*ports, first, last)) or len(set(ports)) < len(ports):
        raise ConfigError("Janus's ports must be three different ones between 1 and 65535")
    if last - first < 19:
        raise ConfigError("Janus's media_ports must span at least 20 ports")


def _core(settings: JanusSettings) -> str:
    first, middle = settings.media_ports[0], _middle(settings)
    loopback = ipaddress.ip_address(settings.address).is_loopback
    # protected_folders: no new folders, no .mjr files. The AudioBridge's WAV recording is not
    # covered by it (tried); that takes the room's secret, which only the Janus manager derives.
    return f"""general: {{
    log_to_stdout = true
    debug_level = {settings.log_level}
    debug_timestamps = true
    debug_colors = false
    admin_secret = "{settings.admin_secret}"
    server_name = "{settings.server_name}"
    interface = "{settings.address}"
    session_timeout = 60
    hide_dependencies = true
    protected_folders = ["/"]
}}
media: {{
    rtp_port_range = "{first}-{middle}"
}}
nat: {{
    nice_debug = false
    ice_enforce_list = "{"lo" if loopback else settings.address}"
}}
plugins: {{
    disable = "{_libraries(_PLUGINS)}"
}}
transports: {{
    disable = "{_libraries(_TRANSPORTS)}"
}}
loggers: {{
    disable = "{_libraries(_LOGGERS)}"
}}
events: {{
    broadcast = false
    disable = "{_libraries(_EVENT_HANDLERS)}"
}}
"""


def _audiobridge(settings: JanusSettings) -> str:
    """No static rooms; without ``lock_rtp_forward`` anybody could copy a room's audio out."""
    return f"""general: {{
    admin_key = "{settings.admin_key}"
    lock_rtp_forward = true
    lock_play_file = true
    events = false
    local_ip = "{settings.address}"
    rtp_port_range = "{_middle(settings) + 1}-{settings.media_ports[1]}"
}}
"""


def _websockets(settings: JanusSettings) -> str:
    return f"""general: {{
    events = false
    json = "compact"
    ws = true
    ws_ip = "{settings.address}"
    ws_port = {settings.ws_port}
    wss = false
    ws_logging = "err,warn"
    pingpong_trigger = 10
    pingpong_timeout = 10
}}
admin: {{
    admin_ws = true
    admin_ws_ip = "{settings.address}"
    admin_ws_port = {settings.admin_ws_port}
    admin_wss = false
}}
"""


def _http(settings: JanusSettings) -> str:
    return f"""general: {{
    events = false
    json = "compact"
    http = false
    https = false
}}
admin: {{
    admin_base_path = "/admin"
    admin_http = true
    admin_ip = "{settings.address}"
    admin_port = {settings.admin_http_port}
    admin_https = false
}}
"""


def _middle(settings: JanusSettings) -> int:
    first, last = settings.media_ports
    return first + (last - first) // 2


def _libraries(names: tuple[str, ...]) -> str:
    """
    >>> _libraries(("sip", "nosip"))
    'libjanus_sip.so,libjanus_nosip.so'
    """
    return ",".join(f"libjanus_{name}.so" for name in names)
