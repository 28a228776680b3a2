"""Two mixers and two Janus managers of one id: the second refuses, and harms nothing (F45)."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from pkg import keys
from pkg.model import Kind, ModuleId
from tests.support import site as sites
from tests.support import stack as stacks
from tests.support.daemon import Daemon
from tests.support.hosts import MixerHost
from tests.support.ports import port_block
from tests.support.stack import Stack, until
from tests.support.view import on_air

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

REFUSED_SECONDS = 60.0  # a lease, in which the holder might have been dead, and its start


@pytest.fixture
async def stack(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[Stack]:
    async with stacks.running(tmp_path, "", "/duplicates", etcds=1) as running:
        yield running


async def created(stack: Stack, kind: Kind, module_id: str) -> int:
    """The revision at which who holds the id registered."""
    found = await stack.etcd.get(keys.heartbeat(kind, ModuleId(module_id)))
    assert found is not None
    return found.create_revision


async def refuses(daemon: Daemon, holder: Daemon) -> None:
    """It ends by itself, and names who has the id."""

    async def over() -> bool:
        return not daemon.is_running()

    await until(over, REFUSED_SECONDS)
    assert f"is held by pid {holder.pid} on " in daemon.tail()
    assert "stop that one or choose another id" in daemon.tail()


async def test_the_second_of_an_id_refuses_and_names_the_first(
    stack: Stack, tmp_path: Path
) -> None:
    witness = await on_air(stack, "blue")
    ids = {Kind.MIXER: stack.site.mixer_id, Kind.JANUS: stack.site.janus_id}
    before = {kind: await created(stack, kind, module_id) for kind, module_id in ids.items()}
    running = stack.ffmpegs(), await stack.janus_rooms()
    with port_block() as first_port:
        own = tmp_path / "second"
        own.mkdir()
        second = replace(stack.site.machines[0], folder=own, first_port=first_port)
        env = sites.janus_manager_env(stack.site, second)
        daemons = [MixerHost(stack.site, second), Daemon("second", "janusmanager", env, own)]
        for daemon in daemons:
            daemon.start()
        try:
            async with witness.watching():
                await refuses(daemons[0], stack.mixer)
                await refuses(daemons[1], stack.janus_manager)
        finally:
            for daemon in daemons:
                daemon.kill()
    await witness.settles()
    after = {kind: await created(stack, kind, module_id) for kind, module_id in ids.items()}
    assert after == before, "the first never lost its lease"
    assert (stack.ffmpegs(), await stack.janus_rooms()) == running
    assert witness.findings == []
