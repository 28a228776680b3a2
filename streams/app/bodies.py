"""Request bodies, whole, in time, and together within a bound of memory."""

import anyio

from pkg.httpserver import Receive, Scope
from streams.protocol.refusal import Refusal

MAX_BODY_BYTES = 16 * 2**20
MAX_TOGETHER = 256 * 2**20
BODY_SECONDS = 60.0
DISCARD_SECONDS = 3.0


class CallerGoneError(Exception):
    """The caller went away before the body was whole."""


class Bodies:
    """Counts the bytes of all bodies that are being taken or stored."""

    def __init__(self, *, each: int = MAX_BODY_BYTES, together: int = MAX_TOGETHER) -> None:
        self._each = each
        self._together = together
        self.held = 0

    async def take(self, scope: Scope, receive: Receive) -> bytes:
        """The body; give it back with ``release``.

        Raises Refusal 408, 413, 503, CallerGoneError.
        """
        headers = dict(scope["headers"])
        if int(headers.get(b"content-length", b"0")[:20]) > self._each:
            if b"expect" not in headers:
                await _discard(receive, 2 * self._each)
            raise self._too_large()
        parts: list[bytes] = []
        try:
            with anyio.fail_after(BODY_SECONDS):
                await self._gather(receive, parts)
        except TimeoutError:
            self.release(sum(map(len, parts)))
            raise Refusal(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
        except BaseException:
            self.release(sum(map(len, parts)))
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _gather(self, receive: Receive, parts: list[bytes]) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerGoneError
            part, more = message.get("body", b""), message.get("more_body", False)
            if size + len(part) > self._each:
                await _discard(receive, self._each)
                raise self._too_large()
            if not self.reserve(len(part)):
                raise Refusal(503, "too many bodies at once", {"Retry-After": "1"})
            size += len(part)
            parts.append(part)

    def reserve(self, size: int) -> bool:
        """Count a body that is there already; whether there is room for it."""
        if self.held + size > self._together:
            return False
        self.held += size
        return True

    def release(self, size: int) -> None:
        self.held -= size

    def _too_large(self) -> Refusal:
        return Refusal(413, f"a body may have {self._each} bytes at most", {"Connection": "close"})


async def _discard(receive: Receive, most: int) -> None:
    """Take what still comes, within bounds: closing on it would reset the connection, and many
    callers would never see why."""
    more = True
    with anyio.move_on_after(DISCARD_SECONDS):
        while more and most > 0:
            message = await receive()
            most -= len(message.get("body", b""))
            more = message.get("more_body", False)
