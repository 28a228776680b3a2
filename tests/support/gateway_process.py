"""Gateways as real processes, and hosts that connect to them."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from pkg import keys
from pkg.etcd.api import Etcd
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.tokens import Role, Tokens
from tests.support.daemon import Daemon
from tests.support.tcp import free_port

MASTER = "m" * 48
TOKENS = Tokens([token_key(MASTER.encode())])
START_SECONDS = 60.0
SLACK_SECONDS = 30.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Site:
    """Where gateways live: an etcd, a prefix of their own, a folder."""

    folder: Path
    etcd_url: str
    namespace: str

    @asynccontextmanager
    async def etcd(self) -> AsyncGenerator[Etcd]:
        client = EtcdClient(EtcdOptions(endpoints=(self.etcd_url,), namespace=self.namespace))
        try:
            yield client
        finally:
            await client.aclose()


class GatewayProcess:
    """`python -m wsgateway`; ready on entering, killed on leaving."""

    def __init__(self, site: Site, gateway_id: str, **settings: str) -> None:
        self.port = free_port()
        master = site.folder / "master"
        master.touch(mode=0o600)
        master.write_text(MASTER)
        env = {
            "ONAIR_ETCD_ENDPOINTS": site.etcd_url,
            "ONAIR_ETCD_PREFIX": site.namespace,
            "ONAIR_MASTER_SECRET_FILE": str(master),
            "ONAIR_GATEWAY_ID": gateway_id,
            "ONAIR_GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            **{f"ONAIR_GATEWAY_{name.upper()}": value for name, value in settings.items()},
        }
        self.daemon = Daemon(gateway_id, "wsgateway", env, site.folder)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def __enter__(self) -> Self:
        self.daemon.start()
        give_up = time.monotonic() + START_SECONDS
        while self.page("/readyz")[0] != 200:
            self.daemon.assert_alive()
            assert time.monotonic() < give_up, self.daemon.tail()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.kill()

    def page(self, path: str) -> tuple[int, str]:
        """Status (0: nobody answers) and body."""
        try:
            with OPENER.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def token(user: str = "ann", room: str = "blue") -> str:
    return TOKENS.issue(RoomId(room), user, Role.HOST, now=now(), ttl=600)


@asynccontextmanager
async def host(
    gateway: GatewayProcess,
    user: str = "ann",
    *,
    room: str = "blue",
    takeover: bool = False,
    **more: Any,
) -> AsyncGenerator[ClientConnection]:
    """As a browser connects: the token beside the subprotocol."""
    url = gateway.url + ("?takeover=1" if takeover else "")
    protocols = [Subprotocol("onair.v1"), Subprotocol(f"bearer.{token(user, room)}")]
    async with connect(
        url,
        subprotocols=protocols,
        compression=None,
        proxy=None,
        open_timeout=SLACK_SECONDS,
        close_timeout=1,
        **more,
    ) as socket:
        yield socket


async def refusal(gateway: GatewayProcess, query: str = "", **headers: str) -> tuple[int, str]:
    """Status and body of a handshake that is refused; 101 if it is not."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        async with connect(
            gateway.url + query,
            additional_headers=names,
            proxy=None,
            open_timeout=SLACK_SECONDS,
            close_timeout=1,
        ):
            return 101, ""
    except InvalidStatus as error:
        return error.response.status_code, bytes(error.response.body or b"").decode()


async def ask(socket: ClientConnection, method: str) -> Any:
    await socket.send(json.dumps({"id": 1, "method": method}))
    with anyio.fail_after(SLACK_SECONDS):
        return json.loads(await socket.recv())


async def closed(socket: ClientConnection) -> int:
    """With which code the gateway closed it; whatever came before is passed over."""
    with anyio.fail_after(SLACK_SECONDS):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006


async def is_locked(etcd: Etcd, user: str = "ann") -> bool:
    return await etcd.get(keys.host(RoomId("blue"), user)) is not None
