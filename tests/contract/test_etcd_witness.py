"""What our client wrote, read by software that is not ours: etcd3 (kragniz) and etcdctl."""

import base64
import json
import subprocess
import sys

import pytest

from pkg.etcd.api import Delete, Put, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from tests.support.etcd import EtcdServer

pytestmark = [pytest.mark.anyio, pytest.mark.etcd]

READ_WITH_ETCD3 = """
import base64, json, sys, etcd3
client = etcd3.client("127.0.0.1", int(sys.argv[1]))
found = [
    [m.key.decode(), base64.b64encode(v).decode(), m.create_revision, m.mod_revision, m.version,
     m.lease_id]
    for v, m in client.get_prefix("/ns/", sort_order="ascend", sort_target="key")
]
print(json.dumps(found))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def with_etcd3(port: int) -> list[list[object]]:
    """In a process of its own: its generated code needs the pure-Python protobuf."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_WITH_ETCD3, str(port)],
        env={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return list(json.loads(run.stdout))


def with_etcdctl(url: str) -> list[list[object]]:
    argv = ["etcdctl", "--endpoints", url, "get", "/ns/", "--prefix", "-w", "json"]
    run = subprocess.run(
        argv, env={"ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=60, check=True
    )
    return [
        [
            base64.b64decode(kv["key"]).decode(),
            kv.get("value", ""),
            kv["create_revision"],
            kv["mod_revision"],
            kv["version"],
            kv.get("lease", 0),
        ]
        for kv in json.loads(run.stdout)["kvs"]
    ]


@pytest.mark.parametrize("flavour", ["3.4", "3.5"])
async def test_two_witnesses_see_what_we_wrote(flavour: str) -> None:
    with EtcdServer(flavour) as server:
        etcd = EtcdClient(EtcdOptions(endpoints=[server.url], namespace="/ns"))
        try:
            lease = await etcd.grant(60)
            puts = [Put("/é中", b"\x00\xff", lease), Put("/empty", b""), Put("/gone", b"x")]
            await commit(etcd, [], puts)
            await commit(etcd, [], [Put("/big", b"z" * 100_000), Delete("/gone")])
            await commit(etcd, [], [Put("/empty", b"again")])
            ours = [
                [
                    "/ns" + kv.key,
                    base64.b64encode(kv.value).decode(),
                    *(kv.create_revision, kv.mod_revision, kv.version, kv.lease),
                ]
                for kv in (await etcd.range("/")).kvs
            ]
        finally:
            await etcd.aclose()
        assert [row[0] for row in ours] == ["/ns/big", "/ns/empty", "/ns/é中"]
        assert with_etcdctl(server.url) == ours
        assert with_etcd3(server.port) == ours
