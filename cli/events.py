"""``./onair rooms events``: a room's history, read from its stream; a client of that protocol.

The API says where the stream is. From then on only the stream server is asked, without the API's
key: first for all there is, a piece at a time, then, to follow, by long-poll.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.text import Text

from cli.client import Client, RefusedError
from cli.options import Out, with_client
from cli.render import CONTROL
from pkg.errors import ConfigError

START = "-1"
POLL_SECONDS = 90.0  # longer than any server lets us wait
AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0)
COLOURS = {
    "room.started": "green",
    "room.recovered": "green",
    "segment.listed": "green",
    "room.degraded": "red",
    "ffmpeg.restarted": "red",
    "events.dropped": "red",
    "room.moved": "yellow",
}
SAID = {"type", "roomId", "at", "by"}


@dataclass(frozen=True, slots=True)
class Piece:
    """``offset``: where to read on, with ``cursor``; ``over``: closed, nothing will follow."""

    events: list[Any]
    offset: str
    cursor: str
    up_to_date: bool
    over: bool


class History:
    """One stream. ``http`` has no base and no key."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url

    def pieces(self, offset: str, *, follow: bool) -> Iterator[Piece]:
        """From ``offset`` to the end, then what comes. Raises RefusedError, ConfigError."""
        query = {"offset": offset}
        while True:
            piece = self._patiently(query) if follow else self._read(query)
            yield piece
            if piece.over or (piece.up_to_date and not follow):
                return
            query = {"offset": piece.offset}
            if piece.up_to_date:
                query |= {"live": "long-poll"} | ({"cursor": piece.cursor} if piece.cursor else {})

    def _patiently(self, query: dict[str, str]) -> Piece:
        """Whoever follows waits for a server that is away, and for a stream that is not yet."""
        waits = iter(AGAIN_SECONDS)
        while True:
            try:
                return self._read(query)
            except (ConfigError, NotYetError):
                time.sleep(next(waits, AGAIN_SECONDS[-1]))

    def _read(self, query: dict[str, str]) -> Piece:
        try:
            answer = self._http.get(self._url, params=query, timeout=POLL_SECONDS)
        except httpx.HTTPError as error:
            raise ConfigError(
                f"{self._url} does not answer ({str(error) or type(error).__name__})"
            ) from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotYetError("nothing has been told of this room yet", {})
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise ConfigError(f"{self._url} answers {answer.status_code}")
        if not answer.is_success:
            raise RefusedError(f"{self._url} answers {answer.status_code}", {})
        return Piece(
            events=answer.json() if answer.content else [],
            offset=answer.headers["Stream-Next-Offset"],
            cursor=answer.headers.get("Stream-Cursor", ""),
            up_to_date="Stream-Up-To-Date" in answer.headers,
            over="Stream-Closed" in answer.headers,
        )


class NotYetError(RefusedError):
    """There is no such stream."""


@with_client
def events(
    client: Client,
    out: Out,
    room_id: Annotated[str, typer.Argument(metavar="ID", help="the room's id")],
    follow: Annotated[bool, typer.Option("--follow", help="go on, until Ctrl-C")] = False,
    offset: Annotated[
        str, typer.Option("--from", help="an offset that was printed; default: the start")
    ] = START,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="file with a read token, if the stream server wants one"),
    ] = None,
) -> None:
    """A room's history. --json prints each event as it stands in the stream, one a line."""
    url = client.location(f"/api/rooms/{room_id}/events")
    token = {"Authorization": f"Bearer {read_token(token_file)}"} if token_file else {}
    with httpx.Client(trust_env=False, headers=token) as http:
        for piece in History(http, url).pieces(offset, follow=follow):
            for event in piece.events if out.as_json else in_time(piece.events):
                show(out, event)
            offset = piece.offset
    if not out.as_json:
        out.console.print(Text(f"read on: --from {offset}", "dim"), soft_wrap=True)


def read_token(path: Path) -> str:
    """Raises ConfigError."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file: {error}") from None


def in_time(events: list[Any]) -> list[Any]:
    """By the tellers' clocks: after an outage one daemon may send later than another what was
    earlier. What one daemon told stays in its order.

    >>> in_time([{"at": "2"}, 7, {"at": "1", "by": "a"}, {"at": "1", "by": "b"}])
    [7, {'at': '1', 'by': 'a'}, {'at': '1', 'by': 'b'}, {'at': '2'}]
    """
    return sorted(events, key=lambda e: str(e.get("at", "")) if isinstance(e, dict) else "")


def show(out: Out, event: Any) -> None:
    if out.as_json:
        print(json.dumps(event, ensure_ascii=False), flush=True)
    else:
        out.console.print(words(event), soft_wrap=True)


def words(event: Any) -> Text:
    """A line for people, whatever somebody wrote into the stream.

    >>> words({"type": "room.moved", "roomId": "a", "at": "2026-11-21T10:12:05.123Z",
    ...     "by": "room-manager/h:1", "epoch": 7, "why": "m1 is\\x1b draining"}).plain
    '2026-11-21 10:12:05.123  room.moved          epoch=7  why=m1 is draining  (room-manager/h:1)'
    >>> words(["x"]).plain
    '["x"]'
    """
    if not isinstance(event, dict):
        return Text(_clean(json.dumps(event)))
    kind = _clean(event.get("type", "?"))
    stamp = _clean(event.get("at", "")).replace("T", " ").removesuffix("Z")
    text = Text(f"{stamp:<23}  ", "dim").append(f"{kind:<18}", COLOURS.get(kind, "bold"))
    for name, value in event.items():
        if name not in SAID:
            text.append(f"  {_clean(name)}=", "dim").append(_clean(value))
    return text.append(f"  ({_clean(event.get('by', '?'))})", "dim")


def _clean(value: object) -> str:
    """What is in a stream must not drive the terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return CONTROL.sub("", text).replace("\n", " ").replace("\t", " ")
