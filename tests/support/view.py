"""Rooms and modules as a user of REST sees them while parts fail."""

from typing import Any

import anyio

from chaos.player import Moment, Player
from chaos.witness import Witness
from tests.support import proof
from tests.support.stack import Stack, until

SLACK_SECONDS = 15.0  # two cores are shared with other tests
NO_SEGMENT_SECONDS = 1.9  # less than one of two seconds: none was missed


async def on_air(stack: Stack, *rooms: str) -> Witness:
    """Rooms that are created, started and noted; all has settled."""
    witness = proof.witness(stack)
    for room in rooms:
        await begin(stack, witness, room)
    await witness.settles()
    return witness


async def begin(stack: Stack, witness: Witness, room: str) -> None:
    await stack.create(room)
    witness.ledger.answered(room, "create", 201)
    await stack.start(room)
    witness.ledger.answered(room, "start", 200)


async def told(stack: Stack, room: str, status: str, *words: str, within: float = 60.0) -> float:
    """Seconds until REST says so, and explains it in these words. Raises AssertionError."""
    began = anyio.current_time()
    said = {}
    with anyio.move_on_after(within):
        while True:
            said = await stack.call("GET", f"/rooms/{room}/explain")
            if said["status"] == status and all(word in said["reason"] for word in words):
                return anyio.current_time() - began
            await anyio.sleep(0.05)
    raise AssertionError(f"{room} is not {status} with {words} after {within:g} s: {said}")


async def observed(stack: Stack, room: str, half: str) -> dict[str, Any]:
    """What that module last reported of the room. Raises KeyError."""
    found: dict[str, Any] = (await stack.call("GET", f"/rooms/{room}/explain"))["observed"][half]
    return found


async def mark(stack: Stack, kind: str, module_id: str, how: str) -> None:
    await stack.call("PUT", f"/modules/{kind}/{module_id}/mark", json={"mark": how})


async def health(stack: Stack, module_id: str) -> tuple[str, str]:
    """What REST shows of a module, and why ("" without a reason)."""
    found = (await stack.call("GET", "/modules"))["modules"]
    module = next(m for m in found if m["moduleId"] == module_id)
    return module["health"], module.get("reason", "")


async def module_is(stack: Stack, module_id: str, status: str, words: str) -> None:
    """Wait until REST shows a module so. Raises TimeoutError."""

    async def shown() -> bool:
        found, why = await health(stack, module_id)
        return found == status and words in why

    await until(shown)


async def loses(player: Player, moment: Moment, at_most: float) -> float:
    """The listener needs no reload, meets no disorder, and misses no more; seconds missed."""
    await player.hears_on(player.now())
    report = player.report(moment)
    assert (report.reloads, report.unfetchable, report.wrong) == (0, 0, []), report
    assert max(report.silence, report.missing) <= at_most, report
    return max(report.silence, report.missing)
