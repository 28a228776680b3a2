"""Settings of the mixer."""

import ipaddress
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from pkg.config import ModuleIdText, Settings


class Config(Settings):
    program: ClassVar[str] = "onair mixer"
    own: ClassVar[str] = "mixer_"

    mixer_id: ModuleIdText = Field(
        "mixer-1", description="unique among mixers; keep it over restarts"
    )
    mixer_listen: str = Field("127.0.0.1:8082", description="host:port of the HLS origin")
    mixer_origin_url: str = Field(
        "", description="what room managers reach the origin as; default http://LISTEN"
    )
    mixer_address: str = Field(
        "127.0.0.1", description="IP address on which FFmpeg takes RTP, as Janus reaches it"
    )
    mixer_rtp_port_base: int = Field(30000, ge=1024, le=65000, description="even; two a room")
    mixer_rtp_ports: int = Field(
        600,
        ge=2,
        description="how many ports there are, from the base on; left alone for a "
        "minute after each room, so allow several times two a room",
    )
    mixer_capacity: int = Field(40, ge=0, le=10_000, description="rooms at once")
    mixer_media_dir: Path = Field(Path("/var/lib/onair/media"), description="what is served")
    mixer_run_dir: Path = Field(Path("/run/onair/mixer"), description="keys, logs; not served")
    mixer_ffmpeg: str = Field("ffmpeg", description="the program, by name or path")
    mixer_segment_seconds: float = Field(2.0, ge=1.0, le=10.0)

    @field_validator("mixer_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @property
    def origin_url(self) -> str:
        return (self.mixer_origin_url or f"http://{self.mixer_listen}").rstrip("/")
