"""Append one event to a room's stream, over HTTP: the writing half of the protocol we need.

What the answer means is told as a value; whatever may be otherwise in a while is raised. An
append whose answer was lost is simply sent again: the server knows its number.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

import httpx
from pydantic import SecretStr

from pkg.errors import TransientError
from pkg.model import RoomId

JSON_TYPE = "application/json"
KEPT_SECONDS = 30 * 24 * 3600
# The body or the stream itself is the matter, and will be tomorrow.
REFUSALS = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who sends it, and as what number of this stream's."""

    producer: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """It stands in the stream: now, or since an attempt whose answer was lost."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The server has not got what came before: it wants ``expected`` next."""

    expected: int


@dataclass(frozen=True, slots=True)
class Fenced:
    """Somebody writes as this producer under a higher ``epoch``."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never be taken: the stream was closed or deleted, or is no stream of ours."""

    why: str


Outcome: TypeAlias = Delivered | Gap | Fenced | Refused


class ServerAwayError(TransientError):
    """No other stream fares better just now."""


class StreamServer:
    """``url``: where streams are, such as ``http://127.0.0.1:4437/v1/stream``."""

    def __init__(self, client: httpx.AsyncClient, url: str, key: SecretStr | None = None) -> None:
        self._client = client
        self._url = url
        self._key = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    async def append(self, room_id: RoomId, line: bytes, stamp: Stamp) -> Outcome:
        """Makes the stream if there is none. Raises ServerAwayError."""
        headers = {
            "Content-Type": JSON_TYPE,
            "Producer-Id": stamp.producer,
            "Producer-Epoch": str(stamp.epoch),
            "Producer-Seq": str(stamp.seq),
        }
        answer = await self._ask("POST", room_id, headers, line)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            await self._create(room_id)
            answer = await self._ask("POST", room_id, headers, line)
        return _outcome(answer, stamp)

    async def exists(self, room_id: RoomId) -> bool:
        """Raises ServerAwayError."""
        answer = await self._ask("HEAD", room_id, {})
        if answer.is_success:
            return True
        if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            return False
        raise ServerAwayError(_words(answer))

    async def _create(self, room_id: RoomId) -> None:
        """That another daemon has just made it, or otherwise, is as good."""
        headers = {"Content-Type": JSON_TYPE, "Stream-TTL": str(KEPT_SECONDS)}
        answer = await self._ask("PUT", room_id, headers)
        if not answer.is_success and answer.status_code != HTTPStatus.CONFLICT:
            raise ServerAwayError(_words(answer))

    async def _ask(
        self, method: str, room_id: RoomId, headers: dict[str, str], body: bytes | None = None
    ) -> httpx.Response:
        url = stream_url(self._url, room_id)
        try:
            return await self._client.request(
                method, url, headers=headers | self._key, content=body
            )
        except httpx.HTTPError as error:
            raise ServerAwayError(str(error) or type(error).__name__) from None


def stream_url(base: str, room_id: RoomId) -> str:
    """
    >>> stream_url("http://s/v1/stream/", RoomId("blue"))
    'http://s/v1/stream/rooms/blue'
    """
    return f"{rooms_url(base)}/{room_id}"


def rooms_url(base: str) -> str:
    """What all rooms' streams are under."""
    return f"{base.rstrip('/')}/rooms"


def _outcome(answer: httpx.Response, stamp: Stamp) -> Outcome:
    """Raises ServerAwayError."""
    if answer.is_success:
        return Delivered()
    expected, epoch = _number(answer, "Producer-Expected-Seq"), _number(answer, "Producer-Epoch")
    status = answer.status_code
    if status == HTTPStatus.CONFLICT and expected is not None and expected < stamp.seq:
        return Gap(expected)
    if status == HTTPStatus.FORBIDDEN and epoch is not None and epoch >= stamp.epoch:
        return Fenced(epoch)
    if status in REFUSALS:
        return Refused(_words(answer))
    raise ServerAwayError(_words(answer))


def _number(answer: httpx.Response, name: str) -> int | None:
    text = answer.headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 else None


def _words(answer: httpx.Response) -> str:
    closed = ", the stream is closed" if "stream-closed" in answer.headers else ""
    return f"answered {answer.status_code}{closed}"
