"""Every 30 s, have every room that is not idle looked at again: finds what nobody noticed.

It only enqueues; ``controller`` repairs. It may run on every replica, since every repair is
guarded.
"""

import anyio
import structlog

from pkg import keys
from pkg.workqueue import WorkQueue
from roommanager.view import View

log = structlog.get_logger()
SWEEP_SECONDS = 30.0


async def sweep_for_ever(view: View, queue: WorkQueue[str]) -> None:
    while True:
        await anyio.sleep(SWEEP_SECONDS)
        rooms = [r for r in view.rooms() if view.informer.get(keys.room(r, "livemeta"))]
        for room_id in rooms:
            queue.add(room_id)
        log.debug("housekeeping.swept", rooms=len(rooms))
