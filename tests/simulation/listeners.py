"""Who listens: every replica is asked for every room's playlist, again and again (I12).

Production's ``Hls`` composes it; the mixers' origins, which it asks, are the fakes' machines.
"""

import re
from collections.abc import Callable
from typing import Any

import anyio
import httpx

from pkg.model import Epoch, RoomId
from roommanager.hls import Hls
from roommanager.sources import NotOnAirError, NotYetError
from roommanager.view import View
from tests.support.fake_processes import Machine

LISTED = 6  # segments, as FFmpeg is told
ASK_SECONDS = 4.0
SEQUENCE = re.compile(r"^#EXT-X-MEDIA-SEQUENCE:([0-9]+)$", re.MULTILINE)


class Origins(httpx.AsyncClient):
    """``find(host)``: its machine, or None while nothing answers there."""

    def __init__(self, find: Callable[[str], Machine | None]) -> None:
        super().__init__(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
        self._find = find

    async def get(self, url: Any, **_options: Any) -> httpx.Response:
        await anyio.sleep(0.002)
        host, room_id, epoch, name = str(url).removeprefix("http://").split("/")
        machine = self._find(host)
        if machine is None:
            raise httpx.ConnectError("nobody listens")
        if not name.endswith(".m3u8"):
            return httpx.Response(200, content=b"sound")
        where = (RoomId(room_id), Epoch(int(epoch)))
        if where not in machine.folders:
            return httpx.Response(404)
        return httpx.Response(200, text=playlist(where[1], _newest(machine, where)))


def _newest(machine: Machine, where: tuple[RoomId, Epoch]) -> int:
    for process in machine.alive():
        if (process.running.room_id, process.running.epoch) == where:
            machine.newest(process)
    return machine.folders[where]


def playlist(epoch: Epoch, newest: int) -> str:
    """
    >>> SEQUENCE.findall(playlist(Epoch(3), (3 << 20) + 9))
    ['3145732']
    >>> playlist(Epoch(3), -1)
    ''
    """
    if newest < 0:
        return ""
    oldest = max(epoch << 20, newest - LISTED + 1)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{oldest}"]
    for number in range(oldest, newest + 1):
        lines += ["#EXTINF:2.000000,", f"s_{epoch}_{number}.ts"]
    return "\n".join(lines) + "\n"


async def listen(
    hls: Hls, view: View, rooms: tuple[RoomId, ...], heard: Callable[[RoomId, int], None]
) -> None:
    """For ever, to one replica; ``heard`` is told each playlist's media sequence."""
    async with hls.running():
        while True:
            await anyio.sleep(ASK_SECONDS)
            for room_id in rooms:
                if view.informer.get(f"/rooms/{room_id}/livemeta") is None:
                    continue
                try:
                    text, _ = await hls.playlist(view.room(room_id))
                except (NotOnAirError, NotYetError):
                    continue
                heard(room_id, int(SEQUENCE.findall(text)[0]))
