"""Settings of the room manager."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pkg.config import Settings
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
    room_manager_policy: Policy = Field(
        Policy.TWO_CHOICES, description="how a module is chosen among those that can take a room"
    )

    @property
    def public_url(self) -> str:
        return (self.room_manager_public_url or f"http://{self.room_manager_listen}").rstrip("/")
