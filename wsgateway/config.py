"""Settings of the gateway."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from pkg.config import CommaList, ModuleIdText, Settings, read_secret, split_commas
from pkg.errors import ConfigError
from wsgateway.turn import IceServers, is_turn

_ICE_PATTERN = r"(stuns?|turns?):[A-Za-z0-9.\[\]:_-]+(\?transport=(udp|tcp))?"
_ORIGIN_PATTERN = r"https?://[A-Za-z0-9.\[\]:_-]+"


class Config(Settings):
    program: ClassVar[str] = "onair gateway"
    own: ClassVar[str] = "gateway_"

    gateway_id: ModuleIdText = Field(
        "gateway-1", description="unique among gateways; keep it over restarts"
    )
    gateway_listen: str = Field("127.0.0.1:8081", description="host:port of the WebSocket")
    gateway_public_url: str = Field(
        "", description="what browsers reach it as; default ws://LISTEN/ws"
    )
    gateway_allowed_origins: CommaList = Field(
        (), description="whose pages may connect, https://host each; its own host:port always may"
    )
    gateway_ice_servers: CommaList = Field(
        (), description="stun: and turn: URLs that hosts are told of"
    )
    gateway_turn_secret_file: Path | None = Field(
        None, description="file with coturn's static-auth-secret; needed for turn: URLs"
    )
    gateway_max_hosts: int = Field(
        50, ge=1, le=1000, description="hosts in a room that names no number itself"
    )
    gateway_max_connections: int = Field(5000, ge=1, le=50_000, description="hosts at once")
    gateway_max_per_address: int = Field(
        200, ge=1, le=50_000, description="hosts at once from one address (IPv6: one /64)"
    )
    gateway_join_seconds: float = Field(
        60.0, ge=1, le=3600, description="a host who has not joined by then is let go"
    )
    gateway_trusted_proxies: CommaList = Field(
        (), description="addresses or networks whose X-Forwarded-For is believed; default: nobody's"
    )

    @field_validator(
        "gateway_allowed_origins", "gateway_ice_servers", "gateway_trusted_proxies", mode="before"
    )
    @classmethod
    def _split_lists(cls, value: object) -> object:
        return split_commas(value)

    @field_validator("gateway_turn_secret_file", mode="before")
    @classmethod
    def _may_be_none(cls, value: object) -> object:
        return value or None

    @field_validator("gateway_public_url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        if value and not value.startswith(("ws://", "wss://")):
            raise ValueError("give ws://host:port/ws or wss://host/ws")
        return value

    @field_validator("gateway_allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [v for v in value if not re.fullmatch(_ORIGIN_PATTERN, v, re.ASCII)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no origin: give https://host or http://host:port")
        return tuple(v.lower() for v in value)

    @field_validator("gateway_ice_servers")
    @classmethod
    def _are_ice_servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [v for v in value if not re.fullmatch(_ICE_PATTERN, v, re.ASCII)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no ICE server: give stun:host:port or turn:host:port")
        return value

    @field_validator("gateway_trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @property
    def public_url(self) -> str:
        return self.gateway_public_url or f"ws://{self.gateway_listen}/ws"

    def ice_servers(self) -> IceServers:
        """Reads the secret. Raises ConfigError."""
        urls, file = self.gateway_ice_servers, self.gateway_turn_secret_file
        if file is None:
            if any(map(is_turn, urls)):
                raise ConfigError(
                    "ONAIR_GATEWAY_TURN_SECRET_FILE: browsers refuse turn: URLs without "
                    "credentials; name a file with coturn's static-auth-secret"
                )
            return IceServers(urls, None)
        secret = read_secret(file, "gateway_turn_secret_file")
        return IceServers(urls, secret.get_secret_value())
