"""Where a room's history is. The room manager writes to it as every daemon does (``pkg.events``);
here it only knows the address, and asks whether there is any.
"""

from pkg.events.server import ServerAwayError, StreamServer, rooms_url, stream_url
from pkg.model import RoomId
from roommanager.problems import Answer, ProblemError


class History:
    """``url``: the stream server as users reach it; empty: no history is written."""

    def __init__(self, server: StreamServer, url: str) -> None:
        self._server = server
        self._url = url

    @property
    def rooms(self) -> str:
        """What a room's id is put behind, for the console; empty: no history is written."""
        return rooms_url(self._url) if self._url else ""

    def address(self, room_id: RoomId) -> str:
        """Raises ProblemError."""
        if not self._url:
            detail = "no history is written here: set ONAIR_EVENTS_URL to a stream server"
            raise ProblemError(Answer(404, "no-history", detail))
        return stream_url(self._url, room_id)

    async def has(self, room_id: RoomId) -> bool:
        """Of a room that is no more, too, for as long as its stream lasts. Raises ProblemError."""
        try:
            return await self._server.exists(room_id)
        except ServerAwayError as error:
            detail = f"there is no room {room_id}; if there was one cannot be asked now: {error}"
            headers = {"Retry-After": "5"}
            raise ProblemError(Answer(503, "streams-unavailable", detail, {}, headers)) from None
