"""The tests' own stack with several machines: a host dies whole, pauses, and leaves nothing."""

from pathlib import Path

import httpx
import psutil
import pytest

from tests.support import stack as stacks
from tests.support.stack import until

pytestmark = [pytest.mark.anyio, pytest.mark.etcd, pytest.mark.janus, pytest.mark.ffmpeg]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_stack_of_two_machines_with_an_etcd_of_its_own(tmp_path: Path) -> None:
    async with stacks.running(
        tmp_path, "", "/own", room_managers=2, mixers=2, januses=2, etcds=1
    ) as stack:
        for room in ("blue", "red", "green"):
            await stack.create(room)
            await stack.start(room)
        mixer, janus = await stack.mixer_of("blue"), await stack.janus_of("blue")
        assert len(stack.ffmpegs()) == len(await stack.janus_rooms()) == 3

        mixer.pause_host()
        paused = [psutil.Process(pid) for pids in mixer.ffmpegs().values() for pid in pids]
        assert [p.status() for p in paused] == [psutil.STATUS_STOPPED] * len(paused) != []
        mixer.resume_host()
        await stack.becomes("blue", "onair")

        mixer.kill_host()
        assert mixer.ffmpegs() == {}
        mixer.start()
        janus.pause_host()
        janus.resume_host()
        stack.etcds[0].kill()
        stack.etcds[0].launch().wait_ready()

        async def is_ready() -> bool:
            answer = await stack.public.get("/readyz")
            return answer.status_code == httpx.codes.OK

        async def plays_once() -> bool:
            return len(stack.ffmpegs().get("blue", [])) == 1

        await until(is_ready)
        await until(plays_once)  # wherever it is by now; its keys may be old news until then
        await stack.becomes("blue", "onair")
    assert stack.ffmpegs() == {}
