"""The client against etcd with passwords, and with TLS on both sides."""

import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from pkg.errors import ConfigError
from pkg.etcd.api import AccessError, Delete, Etcd, Put, UnavailableError, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.member import DEADLINE_SECONDS
from tests.support.certificates import Certificates, make_certificates
from tests.support.etcd import EtcdServer

pytestmark = [pytest.mark.anyio, pytest.mark.etcd]


PASSWORD = "s3cret-pass"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def client(options: EtcdOptions) -> AsyncGenerator[Etcd]:
    etcd = EtcdClient(options)
    try:
        yield etcd
    finally:
        await etcd.aclose()


def etcdctl(url: str, *words: str) -> None:
    argv = ["etcdctl", "--endpoints", url, *words]
    subprocess.run(argv, env={"ETCDCTL_API": "3"}, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """Users: root, and `onair` who may read and write below /onair; tokens last 2 s idle."""
    with EtcdServer(extra=["--auth-token-ttl", "2"]) as server:
        etcdctl(server.url, "user", "add", "root:rootpass")
        etcdctl(server.url, "user", "grant-role", "root", "root")
        etcdctl(server.url, "user", "add", f"onair:{PASSWORD}")
        etcdctl(server.url, "role", "add", "onair")
        etcdctl(
            server.url, "role", "grant-permission", "onair", "readwrite", "--prefix=true", "/onair/"
        )
        etcdctl(server.url, "user", "grant-role", "onair", "onair")
        etcdctl(server.url, "auth", "enable")
        yield server.url


def as_user(url: str, password: str = PASSWORD) -> EtcdOptions:
    return EtcdOptions(endpoints=[url], username="onair", password=SecretStr(password))


async def test_a_password_opens_every_call(guarded: str) -> None:
    async with client(as_user(guarded)) as etcd:
        async with etcd.watch("/onair/", since=1) as batches:
            lease = await etcd.grant(10)
            await commit(etcd, [], [Put("/onair/k", b"v", lease)])
            async for batch in batches:
                if batch.changes:
                    break
        assert await etcd.keep_alive(lease) == 10.0
        assert (await etcd.status()).has_leader
        await etcd.revoke(lease)


async def test_an_expired_token_is_renewed_once_and_unseen(guarded: str) -> None:
    async with client(as_user(guarded)) as etcd:
        await commit(etcd, [], [Put("/onair/k", b"1")])
        await anyio.sleep(3.5)  # the server forgets a token that was idle for 2 s
        results: list[int] = []

        async def write(n: int) -> None:
            results.append(await commit(etcd, [], [Put(f"/onair/{n}", b"2")]))

        async with anyio.create_task_group() as tasks:
            for n in range(10):
                tasks.start_soon(write, n)
        assert len(results) == 10


async def test_what_the_role_does_not_allow_is_refused(guarded: str) -> None:
    async with client(as_user(guarded)) as etcd:
        with pytest.raises(AccessError):
            await etcd.txn([], [Put("/elsewhere", b"")])
        with pytest.raises(AccessError):
            await etcd.range("/")
        with pytest.raises(AccessError):
            async with etcd.watch("/", since=1):
                pass
        await commit(etcd, [], [Delete("/onair/k")])


@pytest.mark.parametrize("user", [True, False], ids=["wrong-password", "no-user"])
async def test_a_wrong_password_is_an_access_error_without_it(guarded: str, user: bool) -> None:
    options = as_user(guarded, "wr0ng-pass") if user else EtcdOptions(endpoints=[guarded])
    assert "wr0ng" not in repr(options)
    async with client(options) as etcd:
        with pytest.raises(AccessError) as caught:
            await etcd.txn([], [Put("/onair/k", b"")])
    assert "wr0ng" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def encrypted(certificates: Certificates) -> Iterator[str]:
    c = certificates
    extra = ["--cert-file", str(c.server_cert), "--key-file", str(c.server_key)]
    extra += ["--trusted-ca-file", str(c.ca), "--client-cert-auth"]
    with EtcdServer(scheme="https", extra=extra) as server:
        yield server.url


async def test_tls_with_a_client_certificate(encrypted: str, certificates: Certificates) -> None:
    c = certificates
    options = EtcdOptions([encrypted], "", c.ca, c.client_cert, c.client_key)
    async with client(options) as etcd:
        await commit(etcd, [], [Put("/k", b"v")])
        assert await etcd.get("/k") is not None


async def test_a_server_of_another_ca_is_refused(
    encrypted: str, certificates: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path)
    c = certificates
    async with client(EtcdOptions([encrypted], "", other.ca, c.client_cert, c.client_key)) as etcd:
        with anyio.fail_after(DEADLINE_SECONDS + 10), pytest.raises(AccessError):
            await etcd.get("/k")


async def test_without_a_client_certificate_nothing_works(
    encrypted: str, certificates: Certificates
) -> None:
    async with client(EtcdOptions([encrypted], "", certificates.ca)) as etcd:
        with (
            anyio.fail_after(DEADLINE_SECONDS + 10),
            pytest.raises((AccessError, UnavailableError)),
        ):
            await etcd.get("/k")


async def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="no-such"):
        EtcdClient(EtcdOptions(["https://127.0.0.1:1"], "", Path("/no-such")))
    with pytest.raises(ConfigError) as caught:
        EtcdClient(EtcdOptions(["http://root:hunter2@127.0.0.1:1"]))
    assert "hunter2" not in str(caught.value)
