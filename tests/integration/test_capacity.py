"""200 starts at once through two room managers onto modules with 20 places (I2)."""

from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from pkg import keys
from pkg.model import Kind, ModuleId
from tests.support import stack as stacks
from tests.support.etcd import etcd_namespace, etcd_url
from tests.support.stack import Stack, until

__all__ = ["etcd_namespace", "etcd_url"]
pytestmark = [pytest.mark.anyio, pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg]

PLACES, ROOMS = 20, 200


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def watch_places(stack: Stack, most: dict[Kind, int]) -> None:
    """Sample the slots as fast as etcd answers; note the most that were ever taken."""
    ids = {Kind.JANUS: ModuleId(stack.site.janus_id), Kind.MIXER: ModuleId(stack.site.mixer_id)}
    while True:
        for kind, module_id in ids.items():
            prefix = keys.slots_prefix(kind, module_id)
            taken = [
                int(kv.key.removeprefix(prefix)) for kv in (await stack.etcd.range(prefix)).kvs
            ]
            most[kind] = max(most[kind], len(taken))
            assert all(number < PLACES for number in taken)
        await anyio.sleep(0.01)


async def everywhere(count: int, call: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(call, number)


@pytest.mark.timeout(300)
async def test_twenty_win_and_the_others_are_told_why(
    tmp_path: Path, etcd_url: str, etcd_namespace: str
) -> None:
    async with stacks.running(tmp_path, etcd_url, etcd_namespace, room_managers=2) as stack:
        answers: list[httpx.Response] = []
        most = dict.fromkeys(Kind, 0)

        async def create(number: int) -> None:
            await stack.create(f"room{number}")

        async def start(number: int) -> None:
            url = stack.site.api_url(number % 2)
            answers.append(
                await stack.http.post(f"{url}/api/rooms/room{number}/start", timeout=120)
            )

        async def delete(number: int) -> None:
            await stack.call("DELETE", f"/rooms/room{number}", 202)

        async def on_air() -> bool:
            page = await stack.call("GET", "/rooms?limit=200&status=onair")
            return len(page["rooms"]) == PLACES

        await everywhere(ROOMS, create)
        async with anyio.create_task_group() as sampling:
            sampling.start_soon(watch_places, stack, most)
            await everywhere(ROOMS, start)
            await until(on_air, within=90)
            sampling.cancel_scope.cancel()

        assert most == dict.fromkeys(Kind, PLACES)
        check(stack, answers)
        await everywhere(ROOMS, delete)
        await stack.nothing_remains(within=90)


def check(stack: Stack, answers: list[httpx.Response]) -> None:
    """20 placed; every refusal names each module that lacks, and why."""
    refused = [a for a in answers if a.status_code == 503]
    assert Counter(a.status_code for a in answers) == {200: PLACES, 503: ROOMS - PLACES}
    full = f"all {PLACES} places are taken"
    modules = {"janus": {stack.site.janus_id: full}, "mixer": {stack.site.mixer_id: full}}
    for answer in refused:
        told = answer.json()
        assert told["code"] == "no-capacity"
        assert told["lacking"], "a refusal must name what lacks"
        assert all(why == modules[kind] for kind, why in told["lacking"].items())
        assert "Retry-After" in answer.headers
