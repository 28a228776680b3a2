"""``kill -9`` of each daemon and of etcd: a listener hears nothing of it, and all settles (I5, I9).

None of his audio is missing, and it only stops if the part is away for longer than he has in store.

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
STORE_SECONDS = 3.0  # what a player has at the least when segments cease to come


class Part(Protocol):
    def kill(self) -> None: ...
    def start(self) -> None: ...


PARTS: dict[str, Callable[[Stack], Sequence[Part]]] = {
    "room manager": lambda stack: stack.room_managers[:1],
    "Janus manager": lambda stack: [host.manager for host in stack.janus_hosts],
    "mixer daemon": lambda stack: stack.mixers,
    "etcd": lambda stack: stack.etcds,
}


async def _dies(stack: Stack, part: Part) -> float:
    """Answers how many seconds it was away: on cores with much to do a start takes a while."""
    killed = anyio.current_time()
    part.kill()
    await anyio.sleep(DOWN_SECONDS)
    part.start()
    await stack.ready()
    await until(lambda: _is_registered(stack))
    return anyio.current_time() - killed


async def _is_registered(stack: Stack) -> bool:
    """The modules that run now, not those before them."""
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
        for name, chosen in PARTS.items():
            for part in chosen(stack):
                moment = player.now()
                away = await _dies(stack, part)
                await player.hears_on(player.now())
                seconds = await witness.settles()
                await anyio.sleep(max(0.0, moment.loop + AFTER_SECONDS - anyio.current_time()))
                told = player.report(moment)
                print(f"\n{name}: away {away:.1f} s, settled in {seconds:.1f} s, {told}")
                assert told.missing == told.reloads == told.unfetchable == 0, name
                assert told.silence <= max(0.0, away - STORE_SECONDS), name
                assert told.wrong == [], name
                assert stack.ffmpegs() == ffmpegs, name
    assert witness.findings == []
    assert witness.looks > 10
