"""Every 30 s, on one elected room manager: find what nobody noticed.

Every room that is not idle is looked at again, the stuck and the unwell among them. What does
not fit together in etcd is believed when two sweeps in a row found the same, both in a copy known
to be as etcd is. It only finds: ``controller`` repairs rooms, ``mending`` places and keys.

What a module that is dead has left needs no second look: nobody else gives its places back, and
each cure compares the wish and the place that it rests on.
"""

from typing import NoReturn

import anyio
import structlog

from pkg import keys
from pkg.election import Term
from pkg.model import Kind, ModuleId
from pkg.workqueue import WorkQueue
from roommanager import findings
from roommanager.findings import Finding, LeakedSlot, StuckRoom, find
from roommanager.fleet import ModuleKey
from roommanager.mending import Mender
from roommanager.verdict import Fitness
from roommanager.view import View
from roommanager.vigil import Vigil

log = structlog.get_logger()
SWEEP_SECONDS = 30.0


def enqueue(view: View, queue: WorkQueue[str]) -> None:
    rooms = [r for r in view.rooms() if view.informer.get(keys.room(r, "livemeta"))]
    for room_id in rooms:
        queue.add(room_id)
    log.debug("housekeeping.swept", rooms=len(rooms))


class Housekeeping:
    """``queue`` is the room controller's."""

    def __init__(self, view: View, queue: WorkQueue[str], mender: Mender, vigil: Vigil) -> None:
        self._view = view
        self._queue = queue
        self._mender = mender
        self._vigil = vigil
        self._dead: set[ModuleKey] = set()  # since they were last looked at
        self._news = anyio.Event()
        vigil.on_verdict(self._notice)

    async def lead(self, term: Term) -> None:
        """For as long as this process is elected; what others have seen counts for naught."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._bury, term)
            await self._sweep(term)

    def _notice(self, module: ModuleKey) -> None:
        if self._is_dead(module):
            self._dead.add(module)
            self._news.set()

    def _is_dead(self, module: ModuleKey) -> bool:
        return self._vigil.verdict(*module).fitness is Fitness.DEAD

    async def _bury(self, term: Term) -> NoReturn:
        """Those that died before this process was elected, too."""
        while True:
            self._news = news = anyio.Event()
            while self._dead:
                module = self._dead.pop()
                if self._is_dead(module):
                    await self._mender.mend(left_on(self._view, *module), term.guard)
            await news.wait()

    async def _sweep(self, term: Term) -> NoReturn:
        belief = Belief()
        while True:
            await anyio.sleep(SWEEP_SECONDS)
            enqueue(self._view, self._queue)
            for finding in belief.take(look(self._view)):
                _tell(finding)
            await self._mender.mend(belief.held, term.guard)


def look(view: View) -> frozenset[Finding]:
    """Nothing while the copy may be old, so that nothing is believed then."""
    return frozenset() if view.informer.broken_since is not None else find(view)


def left_on(view: View, kind: Kind, module_id: ModuleId) -> frozenset[Finding]:
    """As ``look``, of one module's places."""
    module = view.fleet.get(kind, module_id)
    if module is None or view.informer.broken_since is not None:
        return frozenset()
    return findings.left_on(view, module)


class Belief:
    """``held``: what the last two sweeps both found."""

    def __init__(self) -> None:
        self.held: frozenset[Finding] = frozenset()
        self._before: frozenset[Finding] = frozenset()

    def take(self, found: frozenset[Finding]) -> frozenset[Finding]:
        """Take in one sweep's findings; answers what is believed from now on."""
        known = self.held
        self.held, self._before = found & self._before, found
        return self.held - known


def _tell(finding: Finding) -> None:
    """What nobody here can mend is told once; the rest is told when it is mended."""
    match finding:
        case StuckRoom(room_id, _, waits_for):
            log.warning("room.stuck", room=room_id, waits_for=waits_for)
        case LeakedSlot(place, _, room_id, epoch):
            key = keys.slot(*place)
            log.warning("slot.leaked", key=key, room=room_id, epoch=epoch, why="no room names it")
        case _:
            pass
