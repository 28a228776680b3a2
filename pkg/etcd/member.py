"""One etcd endpoint: its channel, the calls on it, and its certificates. Used by ``client``."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from anyio.lowlevel import checkpoint_if_cancelled
from pydantic import SecretStr

from pkg.errors import ConfigError
from pkg.etcd.rpc import grpc, pb

T = TypeVar("T")

DEADLINE_SECONDS = 2.0
CHANNEL_OPTIONS = (
    # A black hole is noticed after 10-13 s; pinging faster, etcd answers `too_many_pings`.
    # keepalive_timeout is TCP's alone (grpcio 1.85): where the kernel still acknowledges, as
    # for a frozen etcd, only ping_timeout ends the stream (measured: 11.5 s, else never).
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),  # else an idle watch is pinged only twice
    # Back at once after an outage however long; the defaults wait up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name how long making a connection may take: of three members two may be silent.
    ("grpc.min_reconnect_backoff_ms", 700),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),  # no other client's backoff or connection
    ("grpc.max_receive_message_length", -1),  # a range of all rooms may exceed 4 MB
    ("grpc.enable_retries", 0),  # who may resend what is decided here, not in grpc
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),  # a stray http_proxy must not reroute the store
)


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """``endpoints`` are http:// or https:// URLs; ``namespace`` stands before every key.

    ``deadline`` bounds every call, in seconds. TLS files are PEM and apply to https endpoints.
    """

    endpoints: Sequence[str]
    namespace: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: SecretStr | None = None
    deadline: float = DEADLINE_SECONDS


class Member:
    """The calls of one endpoint, each bound once; make it inside the running loop.

    ``proven``: it has been read from since its last failure, and is the etcd we know.
    """

    def __init__(self, url: str, options: EtcdOptions) -> None:
        self.url = url
        self.proven = False
        scheme, target = _address(url)
        self.channel = (
            grpc.aio.secure_channel(target, _credentials(options), CHANNEL_OPTIONS)
            if scheme == "https"
            else grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
        )
        kv, lease = pb.KVStub(self.channel), pb.LeaseStub(self.channel)
        self.range: Any = kv.Range
        self.txn: Any = kv.Txn
        self.grant: Any = lease.LeaseGrant
        self.revoke: Any = lease.LeaseRevoke
        self.keep_alive: Any = lease.LeaseKeepAlive
        self.watch: Any = pb.WatchStub(self.channel).Watch
        self.authenticate: Any = pb.AuthStub(self.channel).Authenticate
        self.status: Any = pb.MaintenanceStub(self.channel).Status


async def cancellable(answer: Awaitable[T]) -> T:
    """Await grpc so that a cancel scope knows its own cancellation again.

    grpc raises a CancelledError of its own, without anyio's mark (a call in flight, a stream that
    is being made): no scope would take it for its own, and it would end the whole task group.
    """
    try:
        return await answer
    except asyncio.CancelledError:
        await checkpoint_if_cancelled()
        raise


def _address(url: str) -> tuple[str, str]:
    """Split an endpoint; a password in it would end up in logs, so it is refused.

    >>> _address("https://[::1]:2379/")
    ('https', '[::1]:2379')
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigError("etcd endpoints: give http://host:port or https://host:port")
    if "@" in parts.netloc:
        raise ConfigError("etcd endpoints: give user and password file as settings of their own")
    return parts.scheme, parts.netloc


def _credentials(options: EtcdOptions) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _read(options.ca_file), _read(options.key_file), _read(options.cert_file)
    )


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ConfigError(f"etcd TLS file {path}: {error.strerror}") from None
