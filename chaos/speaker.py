"""One who talks in a room all the while: a test tone, which follows its room from Janus to Janus.

``./onair tone`` does the talking, as a process of its own; it is started anew whenever the room's
AudioBridge is another one than before, and when it ended.
"""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import anyio
from anyio.abc import Process

from chaos.api import Api
from cli.supervisor import signal_group

LOOK_SECONDS = 1.0
TONE_SECONDS = 24 * 3600

Address = tuple[str, int, int]  # the Janus's WebSocket, room number, epoch


@dataclass
class Speaker:
    api: Api
    state_dir: Path
    room: str
    hertz: int
    _process: Process | None = None
    _address: Address | None = None

    async def run(self) -> None:
        """Until cancelled; then the tone ends."""
        try:
            while True:
                await self._follow()
                await anyio.sleep(LOOK_SECONDS)
        finally:
            with anyio.CancelScope(shield=True):
                await self._end()

    async def _follow(self) -> None:
        address = await self._look()
        if address is None:  # nobody knows just now: talk on
            return
        if address == self._address and self._process and self._process.returncode is None:
            return
        await self._end()
        self._address = address
        self._process = await anyio.open_process(
            [
                *(sys.executable, "-P", "-m", "cli", "tone", self.room),
                *(f"--state-dir={self.state_dir}", f"--hertz={self.hertz}"),
                f"--seconds={TONE_SECONDS}",
            ],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
        )

    async def _look(self) -> Address | None:
        said = await self.api.ask(f"/rooms/{self.room}/explain")
        janus = said.body.get("observed", {}).get("janus") if said and said.ok else None
        if not janus:
            return None
        return janus["endpoints"].get("ws", ""), janus["janusRoomId"], janus["epoch"]

    async def _end(self) -> None:
        """With the FFmpeg that plays it; Janus forgets who talked when his socket closes."""
        process, self._process = self._process, None
        if process is not None:
            signal_group(process, signal.SIGKILL)
            await process.wait()
