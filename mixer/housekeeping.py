"""Every 10 s: list what really runs and lies here, trim it, have every room looked at again.

It only enqueues; ``controller`` repairs. Rooms that have no place here are believed unwanted
only after two sweeps (processes) or a few seconds (folders).
"""

from typing import NoReturn

import anyio
import structlog

from mixer.api import Folders
from mixer.controller import MixerController
from pkg.errors import TransientError

log = structlog.get_logger()
SWEEP_SECONDS = 10.0


async def sweep_for_ever(mixer: MixerController, folders: Folders) -> NoReturn:
    while True:
        await anyio.sleep(SWEEP_SECONDS)
        try:
            await mixer.sweep()
            for room_id in mixer.inventory.rooms():
                for epoch in mixer.inventory.folders(room_id):
                    await folders.trim(room_id, epoch)
        except TransientError as error:
            log.warning("housekeeping.failed", error=str(error))
