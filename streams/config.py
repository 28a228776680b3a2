"""Settings of the stream server: flags over ``ONAIR_STREAMS_*`` variables.

Not a ``pkg.config.Settings``: this server knows no etcd and no rooms, and its flags are bare
(``--data-dir``), since it is of use alone.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from pkg.config import Flags, read_secret

PREFIX = "ONAIR_STREAMS_"
PORT = 4437  # §13.1


class Config(Flags):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, cli_kebab_case=True
    )
    program: ClassVar[str] = "onair streams"

    data_dir: Path = Field(Path("/var/lib/onair/streams"), description="where everything is kept")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(PORT, ge=0, le=65535)
    long_poll_timeout: float = Field(30.0, gt=0, le=600, description="seconds a long-poll waits")
    sse_seconds: float = Field(60.0, gt=0, le=3600, description="an event stream's length")
    public_url: str = Field("", description="how workers reach it; default: host and port")
    webhook_loopback: bool = Field(
        default=False, description="webhooks may go to http://localhost, too: for development"
    )
    checkpoint_seconds: float = Field(300.0, gt=0, description="how often the log is folded")
    api_key_file: Path | None = Field(
        None, description="file with the key that writers need; default: anybody may write"
    )
    read_tokens_file: Path | None = Field(
        None, description="file with tokens for readers, one a line, each with a name's beginning"
    )
    tls_cert_file: Path | None = Field(None, description="certificate chain, PEM")
    tls_key_file: Path | None = Field(None, description="its key, PEM")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("give --tls-cert-file and --tls-key-file, or neither")
        return self

    def api_key(self) -> bytes | None:
        """Raises ConfigError."""
        return _secret(self.api_key_file, "streams_api_key_file")

    def read_tokens(self) -> str:
        """The file's text. Raises ConfigError."""
        return (_secret(self.read_tokens_file, "streams_read_tokens_file") or b"").decode()


def _secret(path: Path | None, setting: str) -> bytes | None:
    return None if path is None else read_secret(path, setting).get_secret_value()
