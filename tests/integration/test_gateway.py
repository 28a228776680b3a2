"""Gateways on a real etcd: who is let in, who is put out, and what stays when parts fail."""

import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import jwt
import pytest
from anyio.abc import SocketStream
from websockets.asyncio.client import ClientConnection

from pkg import keys
from pkg.etcd.api import Put
from pkg.model import Revocation, RoomId
from pkg.secrets import key_id, token_key
from pkg.tokens import AUDIENCE, ISSUER, TYPE, Role
from tests.support.etcd import EtcdServer, etcd_url
from tests.support.gateway_process import (
    MASTER,
    SLACK_SECONDS,
    TOKENS,
    GatewayProcess,
    Site,
    ask,
    closed,
    host,
    is_locked,
    now,
    refusal,
    token,
)
from tests.support.virtual import eventually

__all__ = ["etcd_url"]
pytestmark = [pytest.mark.anyio, pytest.mark.etcd]

KEY = token_key(MASTER.encode())
BLUE = RoomId("blue")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def site(etcd_url: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("gateways"), etcd_url, f"/test-{os.urandom(6).hex()}")


@pytest.fixture(scope="module")
def one(site: Site) -> Iterator[GatewayProcess]:
    with GatewayProcess(site, "g1", allowed_origins="https://pages.example") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def two(site: Site) -> Iterator[GatewayProcess]:
    with GatewayProcess(site, "g2") as gateway:
        yield gateway


# -- who is let in ------------------------------------------------------------------------


def forged(key: bytes = KEY, headers: dict[str, object] | None = None, **claims: object) -> str:
    """A token that is good but for what is given; None leaves a claim out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "room": "blue",
        "role": "host",
        "iat": now(),
        "exp": now() + 60,
        "jti": "j",
    }
    found = {k: v for k, v in (good | claims).items() if v is not None}
    named = {"typ": TYPE, "kid": key_id(KEY)} | (headers or {})
    return jwt.encode(found, key, algorithm="HS256", headers=named)


def bad_tokens() -> dict[str, str]:
    unsigned = jwt.encode({"sub": "ann"}, "", algorithm="none")
    return {
        "empty": "",
        "no token at all": "e.y.J",
        "unsigned": unsigned,
        "another key": forged(b"x" * 32),
        "over": forged(iat=now() - 100, exp=now() - 50),
        "without end": forged(exp=None),
        "end as text": forged(exp=str(now() + 60)),
        "for ever": forged(exp=10**12),
        "from the future": forged(iat=now() + 1000, exp=now() + 2000),
        "another service's": forged(aud="other"),
        "nobody's": forged(sub=None),
        "a number for a user": forged(sub=7),
        "a user that cannot be": forged(sub="../ann"),
        "a room that cannot be": forged(room="a/b"),
        "another type": forged(headers={"typ": "JWT"}),
        "an unknown key": forged(headers={"kid": "../../dev/null"}),
        "critical": forged(headers={"crit": ["x"]}),
        "a listener's": TOKENS.issue(BLUE, "ann", Role.LISTENER, now=now(), ttl=60),
        "too long": forged(pin="x" * 5000),
    }


async def test_every_bad_token_gets_the_same_answer(one: GatewayProcess) -> None:
    answers = {}
    for name, bad in bad_tokens().items():
        answers[name] = await refusal(one, Authorization=f"Bearer {bad}")
    answers["none"] = await refusal(one)
    answers["two"] = await refusal(one, f"?token={token()}", Authorization=f"Bearer {token()}")
    answers["basic"] = await refusal(one, f"?token={token()}", Authorization="Basic YTpi")
    assert set(answers.values()) == {answers["none"]}, answers
    status, body = answers["none"]
    assert (status, json.loads(body)["code"]) == (401, "unauthorized")
    assert token().split(".")[0] not in one.daemon.tail()


async def test_a_good_token_may_stand_in_three_places(one: GatewayProcess) -> None:
    assert (await refusal(one, f"?token={token('q')}"))[0] == 101
    assert (await refusal(one, Authorization=f"Bearer {token('b')}"))[0] == 101
    async with host(one, "s") as socket:
        assert socket.subprotocol == "onair.v1"
        assert (await ask(socket, "ping"))["result"] == "pong"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://pages.example", 101),
        ("https://evil.example", 403),
        ("null", 403),
        ("https://pages.example.evil.example", 403),
    ],
)
async def test_origins(one: GatewayProcess, origin: str, status: int) -> None:
    user = f"o{len(origin)}"
    assert (await refusal(one, f"?token={token(user)}", Origin=origin))[0] == status


async def test_its_own_pages_may_connect(one: GatewayProcess) -> None:
    origin = f"http://127.0.0.1:{one.port}"
    assert (await refusal(one, f"?token={token('own')}", Origin=origin))[0] == 101


async def test_what_is_no_websocket(one: GatewayProcess) -> None:
    assert one.page("/")[0] == 404
    assert one.page("/ws/")[0] == 404
    assert one.page("/ws")[0] == 401
    assert one.page(f"/ws?token={token('http')}")[0] == 426
    assert one.page("/healthz") == (200, '{"status": "ok"}')
    assert "onair_gateway_handshakes_total" in one.page("/metrics")[1]


async def test_a_revoked_token(one: GatewayProcess, site: Site) -> None:
    async with site.etcd() as etcd, host(one, "rita") as socket:
        record = Revocation(before=now() + 5, kicked=True)
        await etcd.txn([], [Put(keys.revoked_user(BLUE, "rita"), record.encode())])
        assert await closed(socket) == 4403
        assert (await refusal(one, f"?token={token('rita')}"))[0] == 401
        await eventually(lambda: unlocked(site, "rita"), within=SLACK_SECONDS)


async def unlocked(site: Site, user: str) -> bool:
    async with site.etcd() as etcd:
        return not await is_locked(etcd, user)


# -- one connection per user --------------------------------------------------------------


async def test_one_connection_over_all_gateways(
    one: GatewayProcess, two: GatewayProcess, site: Site
) -> None:
    async with host(one) as first:
        for gateway in (one, two):
            async with host(gateway) as second:
                assert await closed(second) == 4409
        async with host(two, takeover=True) as third:
            assert await closed(first) == 4410
            assert (await ask(third, "ping"))["result"] == "pong"
            async with host(two, takeover=True) as fourth:
                assert await closed(third) == 4410
                assert (await ask(fourth, "ping"))["result"] == "pong"
    await eventually(lambda: unlocked(site, "ann"), within=SLACK_SECONDS)


async def test_whoever_leaves_may_come_back_at_once(
    one: GatewayProcess, two: GatewayProcess
) -> None:
    for gateway in (one, two, one, two):
        async with host(gateway, "lea") as socket:
            assert (await ask(socket, "leave"))["result"] == {}
            assert await closed(socket) == 1000


# -- frames -------------------------------------------------------------------------------


async def too_big(socket: ClientConnection) -> None:
    await socket.send("x" * 65_537)


async def too_big_in_parts(socket: ClientConnection) -> None:
    await socket.send(["x" * 1000] * 70)


async def binary(socket: ClientConnection) -> None:
    await socket.send(b"{}")


async def not_utf8(socket: ClientConnection) -> None:
    await socket.send(b"\xff\xfe", text=True)


async def too_fast(socket: ClientConnection) -> None:
    for _ in range(300):
        await socket.send('{"method": "ping"}')


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [(binary, 1003), (not_utf8, 1007), (too_fast, 1008), (too_big, 1009), (too_big_in_parts, 1009)],
)
async def test_frames_that_are_not_taken(
    one: GatewayProcess, misbehave: Callable[[ClientConnection], Awaitable[None]], code: int
) -> None:
    async with host(one, f"user{code}", takeover=True) as socket:
        try:
            await misbehave(socket)
        finally:
            assert await closed(socket) == code


# -- what fails ---------------------------------------------------------------------------


async def test_what_only_time_tells(site: Site, two: GatewayProcess) -> None:
    """One lease's time: a gateway is killed, one is frozen, and some connect and say nothing."""
    with GatewayProcess(site, "killed") as killed, GatewayProcess(site, "frozen") as frozen:
        silent = [await anyio.connect_tcp("127.0.0.1", two.port) for _ in range(3)]
        async with host(killed, "kim"), host(frozen, "fred") as fred, site.etcd() as etcd:
            assert (await ask(fred, "ping"))["result"] == "pong"
            killed.daemon.kill()
            frozen.daemon.pause()
            assert await is_locked(etcd, "kim"), "etcd cannot know yet"
            await eventually(lambda: unlocked(site, "kim"), within=SLACK_SECONDS)
            await eventually(lambda: unlocked(site, "fred"), within=SLACK_SECONDS)
            async with host(two, "fred") as again:
                frozen.daemon.resume()
                assert await closed(fred) == 4410
                assert (await ask(again, "ping"))["result"] == "pong"
            async with host(two, "kim") as kim:
                assert (await ask(kim, "ping"))["result"] == "pong"
        for stream in silent:
            assert await is_hung_up(stream)


async def is_hung_up(stream: SocketStream) -> bool:
    async with stream:
        with anyio.move_on_after(SLACK_SECONDS):
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return True
    return False


async def test_a_gateway_that_is_killed_and_started_again(site: Site, tmp_path: Path) -> None:
    """Its hosts need not wait for the old lease."""
    with GatewayProcess(site, "restarted") as gateway:
        async with host(gateway, "rose"):
            gateway.daemon.kill()
        with gateway:
            async with host(gateway, "rose") as socket:
                assert (await ask(socket, "ping"))["result"] == "pong"


async def test_a_gateway_that_stops_sends_its_hosts_away(site: Site, two: GatewayProcess) -> None:
    with GatewayProcess(site, "stopped") as gateway:
        async with host(gateway, "sue") as socket:
            os.kill(gateway.daemon.pid, signal.SIGTERM)
            assert await closed(socket) == 1012
            async with host(two, "sue") as again:
                assert (await ask(again, "ping"))["result"] == "pong", "the key was free"
        await eventually(lambda: ended(gateway), within=SLACK_SECONDS)


async def ended(gateway: GatewayProcess) -> bool:
    return not gateway.daemon.is_running()


async def test_an_etcd_that_is_away(tmp_path: Path) -> None:
    with EtcdServer() as server:
        site = Site(tmp_path, server.url, "/away")
        with GatewayProcess(site, "g1") as gateway:
            async with host(gateway) as ann:
                server.kill()
                status, body = await refusal(gateway, f"?token={token('bob')}")
                assert (status, json.loads(body)["code"]) == (503, "etcd-unavailable")
                assert (await ask(ann, "ping"))["result"] == "pong"
                assert gateway.page("/healthz")[0] == 200
                assert gateway.page("/readyz")[0] == 503
                server.start()
                async with site.etcd() as etcd:
                    record = Revocation(before=now() + 5)
                    await etcd.txn([], [Put(keys.revoked_user(BLUE, "ann"), record.encode())])
                assert await closed(ann) == 4401
                await eventually(lambda: is_ready(gateway), within=SLACK_SECONDS)
                assert (await refusal(gateway, f"?token={token('bob')}"))[0] == 101


async def is_ready(gateway: GatewayProcess) -> bool:
    return (await anyio.to_thread.run_sync(gateway.page, "/readyz"))[0] == 200
