"""``kill -9`` of each daemon and of etcd: a listener hears nothing of it, and all settles (I5, I9).

The player stands for hls.js behind a balancer; the witness looks at all five lists.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import anyio
import pytest

from pkg import keys
from pkg.model import Heartbeat, Kind, ModuleId
from tests.support import proof
from tests.support.stack import Stack, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.etcd,
    pytest.mark.janus,
    pytest.mark.ffmpeg,
    pytest.mark.timeout(300),
]

DOWN_SECONDS = 1.0  # as a supervisor takes to start it again
AFTER_SECONDS = 5.0  # longer than a segment and the buffer's slack take to show a gap


class Part(Protocol):
    def kill(self) -> None: ...
    def start(self) -> None: ...


PARTS: dict[str, Callable[[Stack], Sequence[Part]]] = {
    "room manager": lambda stack: stack.room_managers[:1],
    "Janus managers": lambda stack: [host.manager for host in stack.janus_hosts],
    "mixer daemons": lambda stack: stack.mixers,
    "etcd": lambda stack: stack.etcds,
}


async def _dies(parts: Sequence[Part]) -> None:
    for part in parts:
        part.kill()
    await anyio.sleep(DOWN_SECONDS)
    for part in parts:
        part.start()


async def _is_registered(stack: Stack) -> bool:
    """The modules that run now: two kinds starting at once would outlast a lease on two cores."""
    parts = [(Kind.JANUS, host.module_id, host.manager.pid) for host in stack.janus_hosts]
    parts += [(Kind.MIXER, mixer.module_id, mixer.pid) for mixer in stack.mixers]
    for kind, module_id, pid in parts:
        found = await stack.etcd.get(keys.heartbeat(kind, ModuleId(module_id)))
        if found is None or Heartbeat.decode(found.value).pid != pid:
            return False
    return True


async def test_no_listener_notices_the_death_of_what_only_controls(stack: Stack) -> None:
    witness = proof.witness(stack)
    for room in ("blue", "red"):
        await stack.create(room)
        witness.ledger.answered(room, "create", 201)
        await stack.start(room)
        witness.ledger.answered(room, "start", 200)
    ffmpegs = stack.ffmpegs()
    async with proof.player(stack, "blue") as player, witness.watching():
        for part, chosen in PARTS.items():
            moment = player.now()
            await _dies(chosen(stack))
            await player.hears_on(player.now())
            seconds = await witness.settles()
            await until(lambda: _is_registered(stack))
            await anyio.sleep(max(0.0, moment.loop + AFTER_SECONDS - anyio.current_time()))
            told = player.report(moment)
            print(f"\n{part}: settled in {seconds:.1f} s, {told}")
            assert told.silence == told.missing == told.reloads == told.unfetchable == 0, part
            assert told.wrong == [], part
            assert stack.ffmpegs() == ffmpegs, part
    assert witness.findings == []
    assert witness.looks > 10
