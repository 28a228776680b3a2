"""Settings of every daemon: flags over ``ONAIR_*`` variables over a TOML file.

Each service has a ``config.py`` with a subclass of ``Settings``; those and this are the only
modules that read the environment. An unknown setting is an error, wherever it stands; secrets
are named by file, never given in place, so that neither ``ps`` nor ``env`` shows them.
"""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretBytes, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pkg import keys
from pkg.errors import ConfigError
from pkg.secrets import MASTER_BYTES, token_key

PREFIX = "ONAIR_"
SERVICES = ("room_manager_", "janus_manager_", "mixer_", "gateway_", "streams_")
# Read by the ./onair command and by the tests, not by daemons.
FOREIGN = ("ONAIR_API", "ONAIR_STATE_DIR", "ONAIR_NO_INSTALL", "ONAIR_TEST_", "ONAIR_CONFIG_FILE")


def _module_id(value: str) -> str:
    if not keys.is_module_id(value):
        raise ValueError("use 1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit")
    return value


ModuleIdText = Annotated[str, AfterValidator(_module_id)]
CommaList = Annotated[tuple[str, ...], NoDecode]


class Flags(BaseSettings):
    """Settings of one program, of which none may be misspelt. ``load`` is the way in."""

    program: ClassVar[str] = "onair"

    @classmethod
    def load(cls, argv: Sequence[str]) -> Self:
        """Read flags, environment and file. Raises ConfigError naming the setting and the fix."""
        refuse_unknown(os.environ, cls)
        flags: CliSettingsSource[Any] = CliSettingsSource(
            cls, cli_parse_args=list(argv), cli_prog_name=cls.program, cli_kebab_case=True
        )
        try:
            return cls(_cli_settings_source=flags)
        except ValidationError as error:
            found = [explain(cls.env_prefix(), e["loc"], e["msg"]) for e in error.errors()]
            raise ConfigError("\n".join(found)) from None

    @classmethod
    def load_or_exit(cls) -> Self:
        """``load`` from the real argv; a mistake ends the process with 2 and its words."""
        try:
            return cls.load(sys.argv[1:])
        except ConfigError as error:
            sys.stderr.write(f"{cls.program}: {error}\n")
            raise SystemExit(2) from None

    @classmethod
    def env_prefix(cls) -> str:
        return cls.model_config.get("env_prefix", "")

    @classmethod
    def others(cls) -> tuple[str, ...]:
        """Beginnings of variables that share the prefix and are somebody else's."""
        return ()


class Settings(Flags):
    """What every daemon of the rooms has in common."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_kebab_case=True,
        nested_model_default_partial_update=False,
    )
    own: ClassVar[str] = ""  # the prefix of the service's own settings, such as "mixer_"

    etcd_endpoints: CommaList = Field(
        ("http://127.0.0.1:2379",), description="etcd members, separated by commas"
    )
    etcd_prefix: str = Field("", description="put before every key, for a shared etcd")
    etcd_seen_file: Path | None = Field(
        None, description="where to note which etcd was seen; a restored or other one is refused"
    )
    etcd_ca_file: Path | None = Field(None, description="CA of the etcd servers (TLS)")
    etcd_cert_file: Path | None = Field(None, description="client certificate (TLS)")
    etcd_key_file: Path | None = Field(None, description="key of the client certificate (TLS)")
    etcd_username: str | None = Field(None, description="etcd user, if authentication is on")
    etcd_password_file: Path | None = Field(None, description="file with that user's password")
    master_secret_file: Path = Field(
        Path("/etc/onair/master"), description="file with the master secret, 32 bytes or more"
    )
    token_secret_files: CommaList = Field(
        (),
        description="files with token secrets, 32 bytes or more each: the first signs, all verify; "
        "default: the master secret's",
    )
    events_url: str = Field(
        "",
        description="where rooms' history is written, http://HOST:4437/v1/stream; empty: nowhere",
    )
    events_key_file: Path | None = Field(
        None, description="file with the stream server's API key, if it asks for one to write"
    )
    events_dir: Path = Field(
        Path("/var/lib/onair/events"), description="where events wait for the stream server"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console in a terminal, else JSON"
    )

    @field_validator("etcd_endpoints", "token_secret_files", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_commas(value)

    @field_validator("etcd_seen_file", "events_key_file", mode="before")
    @classmethod
    def _may_be_off(cls, value: object) -> object:
        return value or None

    @field_validator("etcd_endpoints")
    @classmethod
    def _are_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or any(not v.startswith(("http://", "https://")) for v in value):
            raise ValueError("give http://host:port or https://host:port, separated by commas")
        return value

    @field_validator("events_url")
    @classmethod
    def _is_stream_url(cls, value: str) -> str:
        return http_url(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get("ONAIR_CONFIG_FILE")
        sources = (init_settings, env_settings)
        return (*sources, toml_source(cls, Path(file))) if file else sources

    @classmethod
    def others(cls) -> tuple[str, ...]:
        return tuple(PREFIX + s.upper() for s in SERVICES if s != cls.own) + FOREIGN

    def master_secret(self) -> bytes:
        """At least 32 bytes. Raises ConfigError."""
        return read_strong(self.master_secret_file, "master_secret_file")

    def token_keys(self) -> list[bytes]:
        """For ``pkg.tokens.Tokens``: the first signs, all verify. Raises ConfigError."""
        files = [Path(name) for name in self.token_secret_files]
        strong = [read_strong(file, "token_secret_files") for file in files]
        return [token_key(secret) for secret in strong or [self.master_secret()]]

    def events_key(self) -> SecretStr | None:
        """Raises ConfigError."""
        return read_text(self.events_key_file, "events_key_file")

    def etcd_password(self) -> SecretStr | None:
        return read_text(self.etcd_password_file, "etcd_password_file")


def toml_source(settings: type[BaseSettings], path: Path) -> TomlConfigSettingsSource:
    """Raises ConfigError: a file that was named and cannot be read must not be passed over."""
    try:
        path.open("rb").close()
        return TomlConfigSettingsSource(settings, path)
    except OSError as error:
        raise ConfigError(f"{PREFIX}CONFIG_FILE: {path}: {error.strerror}") from None
    except ValueError as error:  # TOML, or its encoding
        raise ConfigError(f"{PREFIX}CONFIG_FILE: {path} is not TOML: {error}") from None


def split_commas(value: object) -> object:
    """
    >>> split_commas("a, b,"), split_commas(("a",))
    (('a', 'b'), ('a',))
    """
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def http_url(value: str) -> str:
    """A URL, or nothing. Raises ValueError.

    >>> http_url("http://s/v1/stream/"), http_url("")
    ('http://s/v1/stream', '')
    """
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("give http://host:port/path or https://host:port/path")
    return value.rstrip("/")


def explain(prefix: str, where: tuple[int | str, ...], message: str) -> str:
    """
    >>> explain("ONAIR_", ("mixer_capacity",), "Input should be greater than 0")
    'ONAIR_MIXER_CAPACITY (--mixer-capacity): Input should be greater than 0'
    >>> explain("ONAIR_", (), "Value error, give both, or neither")
    'give both, or neither'
    """
    name = ".".join(str(part) for part in where)
    words = message.removeprefix("Value error, ")
    return f"{prefix}{name.upper()} (--{name.replace('_', '-')}): {words}" if name else words


def refuse_unknown(environ: Mapping[str, str], settings: type[Flags]) -> None:
    """A misspelt variable must not be ignored. Other services' variables may stand beside ours."""
    prefix, others = settings.env_prefix(), settings.others()
    known = {prefix + name.upper() for name in settings.model_fields}
    for name in environ:
        if name.startswith(prefix) and name not in known and not name.startswith(others):
            bare = [n.removeprefix(prefix) for n in sorted(known)]  # else the prefix alone is close
            close = difflib.get_close_matches(name.removeprefix(prefix), bare, 1)
            hint = f"did you mean {prefix}{close[0]}?" if close else "no such setting; remove it"
            raise ConfigError(f"{name}: {hint}")


def read_strong(path: Path, setting: str) -> bytes:
    """A secret that keys are derived from. Raises ConfigError if it is a weak one."""
    value = read_secret(path, setting).get_secret_value()
    if len(value) < MASTER_BYTES:
        raise ConfigError(
            f"{path} holds {len(value)} bytes; at least {MASTER_BYTES} are "
            f"needed: head -c 48 /dev/urandom | base64 -w0 > {path}"
        )
    return value


def read_secret(path: Path, setting: str) -> SecretBytes:
    """A file's content without its last newline. Raises ConfigError if others may read it."""
    name = PREFIX + setting.upper()
    try:
        mode = path.stat().st_mode & 0o777
        value = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(f"{name}: {path}: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(f"{name}: {path} can be read by others (mode {mode:o}): chmod 600 {path}")
    if not value:
        raise ConfigError(f"{name}: {path} is empty")
    return SecretBytes(value)


def read_text(path: Path | None, setting: str) -> SecretStr | None:
    """As ``read_secret``, a text; None if no file is named."""
    if path is None:
        return None
    return SecretStr(read_secret(path, setting).get_secret_value().decode())
