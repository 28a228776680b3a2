"""Settings of the room manager."""

import socket
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from pkg.config import CommaList, Settings, http_url, split_commas
from pkg.schedule import Policy


class Config(Settings):
    program: ClassVar[str] = "onair room-manager"
    own: ClassVar[str] = "room_manager_"

    room_manager_listen: str = Field("127.0.0.1:8080", description="host:port of REST")
    room_manager_public_url: str = Field(
        "", description="what users reach it as; default http://LISTEN"
    )
    room_manager_api_key_file: Path = Field(
        Path("/etc/onair/api-key"), description="file with the API key"
    )
    room_manager_trusted_proxies: CommaList = Field(
        (), description="addresses or networks whose X-Forwarded-For is believed; default: nobody's"
    )
    room_manager_policy: Policy = Field(
        Policy.TWO_CHOICES, description="how a module is chosen among those that can take a room"
    )

    room_manager_events_public_url: str = Field(
        "", description="where users read rooms' history; default: ONAIR_EVENTS_URL"
    )

    @field_validator("room_manager_trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        return split_commas(value)

    @field_validator("room_manager_trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("room_manager_events_public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        return http_url(value)

    @property
    def name(self) -> str:
        """Which room manager it is, for people: its host and port."""
        return f"{socket.gethostname()}:{self.room_manager_listen.rpartition(':')[2]}"

    @property
    def public_url(self) -> str:
        return (self.room_manager_public_url or f"http://{self.room_manager_listen}").rstrip("/")
