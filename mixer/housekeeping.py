"""Every 10 s: list what really runs and lies here, trim it, have every room looked at again.

It only enqueues; ``controller`` repairs. Rooms that have no place here are believed unwanted
only after two sweeps (processes) or a few seconds (folders).
"""

from typing import NoReturn

import anyio
import structlog

from mixer.api import Folders
from mixer.controller import MixerController
from pkg.errors import OnairError
from pkg.model import Epoch, RoomId

log = structlog.get_logger()
SWEEP_SECONDS = 10.0


async def sweep_for_ever(mixer: MixerController, folders: Folders) -> NoReturn:
    while True:
        await anyio.sleep(SWEEP_SECONDS)
        try:
            await mixer.sweep()
        except (OnairError, OSError) as error:
            log.warning("housekeeping.failed", error=str(error))
        for room_id in mixer.inventory.rooms():
            for epoch in mixer.inventory.folders(room_id):
                await _trim(folders, room_id, epoch)


async def _trim(folders: Folders, room_id: RoomId, epoch: Epoch) -> None:
    """What one folder meets is no other's trouble, and never the daemon's end."""
    try:
        await folders.trim(room_id, epoch)
    except OSError as error:
        log.warning("folder.trim_failed", room=room_id, epoch=epoch, error=str(error))
