"""etcd takes nobody's credentials any more, and later does again (F38).

What runs goes on, REST says what is wrong, and nobody has to be restarted.
"""

import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from tests.support import history, proof
from tests.support import stack as stacks
from tests.support.stack import Stack
from tests.support.view import NO_SEGMENT_SECONDS, loses, on_air

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

REFUSED_SECONDS = 12.0  # longer than a lease
RECOVERY_SECONDS = 40.0
CALLS = (("GET", "/rooms/blue"), ("POST", "/rooms/blue/stop"), ("DELETE", "/rooms/blue"))


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/access", etcds=1) as running:
        yield running


def etcdctl(stack: Stack, *words: str) -> None:
    argv = ["etcdctl", "--endpoints", stack.site.etcd_url, *words]
    subprocess.run(argv, env={"ETCDCTL_API": "3"}, check=True, capture_output=True, timeout=60)


async def refused(stack: Stack) -> None:
    for method, path in CALLS:
        answer = await stack.http.request(method, f"/api{path}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30"), answer.text
        assert answer.json()["code"] == "etcd-access"
    assert (await stack.public.get("/healthz")).status_code == 200
    assert (await stack.public.get("/readyz")).status_code == 503


async def test_refused_credentials_end_nothing(stack: Stack) -> None:
    witness = await on_air(stack, "blue")
    before = await stack.live("blue"), stack.ffmpegs()
    etcdctl(stack, "user", "add", "root:secret")
    etcdctl(stack, "user", "grant-role", "root", "root")
    async with proof.player(stack, "blue") as player:
        moment = player.now()
        etcdctl(stack, "auth", "enable")
        over = anyio.current_time() + REFUSED_SECONDS
        while anyio.current_time() < over:
            await refused(stack)
            await anyio.sleep(0.5)
        etcdctl(stack, "--user", "root:secret", "auth", "disable")
        with anyio.fail_after(RECOVERY_SECONDS):
            await stack.ready()
        await witness.settles()
        await loses(player, moment, NO_SEGMENT_SECONDS)
    assert (await stack.live("blue"), stack.ffmpegs()) == before
    assert history.stale(await history.told(stack.etcd, since=1)) == []
