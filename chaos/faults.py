"""Does a fault to an ``up``. What was paused always goes on, however the run ends."""

import signal
from collections.abc import Awaitable, Callable

import anyio

from chaos.schedule import Act, Fault
from chaos.targets import Targets, Victim
from pkg.errors import ConfigError, TransientError

POLL_SECONDS = 0.1

Drain = Callable[[str], Awaitable[None]]  # a part's name; it is made ready again


async def do(fault: Fault, victim: Victim, targets: Targets, drain: Drain) -> None:
    """Returns when the fault is over."""
    match fault.kind.act:
        case Act.KILL:
            victim.signal(signal.SIGKILL)
        case Act.PAUSE:
            await _pause(victim, fault.kind.seconds)
        case Act.AWAY:
            await _keep_down(targets, victim, fault.kind.seconds)
        case Act.DRAIN:
            await drain(victim.name)


async def _pause(victim: Victim, seconds: float) -> None:
    try:
        victim.signal(signal.SIGSTOP)
        await anyio.sleep(seconds)
    finally:
        victim.signal(signal.SIGCONT)


async def _keep_down(targets: Targets, victim: Victim, seconds: float) -> None:
    """``up`` starts it again and again; each time it is killed at once."""
    with anyio.move_on_after(seconds):
        while True:
            victim.signal(signal.SIGKILL)
            victim = await _next_life(targets, victim)


async def _next_life(targets: Targets, victim: Victim) -> Victim:
    while True:
        await anyio.sleep(POLL_SECONDS)
        try:
            found = targets.of_part(victim.name)
        except (TransientError, ConfigError):
            continue
        if found.pids != victim.pids:
            return found
