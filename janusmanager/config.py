"""Settings of the Janus manager."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from janusmanager.link import Access
from pkg.config import ModuleIdText, Settings, read_secret
from pkg.model import Endpoints


class Config(Settings):
    program: ClassVar[str] = "onair janus-manager"
    own: ClassVar[str] = "janus_manager_"

    janus_manager_id: ModuleIdText = Field(
        "janus-1", description="unique among Janus managers; keep it over restarts"
    )
    janus_manager_admin_url: str = Field(
        "ws://127.0.0.1:7188", description="Janus's admin WebSocket"
    )
    janus_manager_admin_http_url: str = Field(
        "", description="Janus's admin HTTP address, published for operators and probes"
    )
    janus_manager_ws_url: str = Field(
        "ws://127.0.0.1:8188", description="Janus's WebSocket as gateways reach it; published"
    )
    janus_manager_admin_secret_file: Path = Field(
        Path("/etc/onair/janus-admin-secret"),
        description="file with general.admin_secret of janus.jcfg",
    )
    janus_manager_admin_key_file: Path = Field(
        Path("/etc/onair/janus-admin-key"),
        description="file with general.admin_key of janus.plugin.audiobridge.jcfg",
    )
    janus_manager_capacity: int = Field(100, ge=0, le=10_000, description="rooms at once")

    @field_validator("janus_manager_admin_url", "janus_manager_ws_url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        if not value.startswith(("ws://", "wss://")):
            raise ValueError("give ws://host:port or wss://host:port")
        return value

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(
            ws=self.janus_manager_ws_url, admin=self.janus_manager_admin_http_url or None
        )

    def access(self) -> Access:
        """Reads both secrets. Raises ConfigError."""
        admin_secret = read_secret(
            self.janus_manager_admin_secret_file, "janus_manager_admin_secret_file"
        )
        admin_key = read_secret(self.janus_manager_admin_key_file, "janus_manager_admin_key_file")
        return Access(
            self.janus_manager_admin_url,
            admin_secret.get_secret_value().decode(),
            admin_key.get_secret_value().decode(),
        )
