"""Ask a module itself whether it lives, past etcd. Called by ``vigil``.

A mixer is asked at the probe address of its origin, a Janus itself at its WebSocket (a dead
Janus *manager* is no dead Janus). Nothing is raised: no answer is an answer, too.
"""

import errno
import json
from collections.abc import Iterator
from typing import Protocol

import anyio
import httpx
from websockets.exceptions import (
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from pkg.janus.link import DirectConnect
from pkg.model import Endpoints, Kind, ModuleId
from roommanager.addresses import is_address
from roommanager.verdict import Answer

CONNECT_SECONDS = 1.0
WHOLE_SECONDS = 1.5
MAX_BYTES = 64 * 1024
JANUS_PROTOCOL = Subprotocol("janus-protocol")
AS_IT_IS = {"Accept-Encoding": "identity"}  # what unpacks to more than MAX_BYTES is not sent
PING = json.dumps({"janus": "ping", "transaction": "onair"})


class Prober(Protocol):
    async def probe(self, kind: Kind, module_id: ModuleId, endpoints: Endpoints) -> Answer:
        """Ask once, at its last known addresses; answers within two seconds, whatever happens."""
        ...


class DirectProber:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def probe(self, kind: Kind, module_id: ModuleId, endpoints: Endpoints) -> Answer:
        with anyio.move_on_after(WHOLE_SECONDS):
            url = (endpoints.probe if kind is Kind.MIXER else endpoints.ws) or ""
            if not is_address(url):
                return Answer.UNASKED
            if kind is Kind.MIXER:
                return await self._ask_mixer(module_id, url)
            return await _ask_janus(url)
        return Answer.SILENT

    async def _ask_mixer(self, module_id: ModuleId, url: str) -> Answer:
        timeout = httpx.Timeout(WHOLE_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with self._client.stream(
                "GET", url, headers=AS_IT_IS, timeout=timeout, follow_redirects=False
            ) as response:
                content = await _read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _failed(error)
        return Answer.ANSWERS if _names(content, module_id) else Answer.REFUSED


async def _read(response: httpx.Response) -> bytes:
    """Of a longer one only a part, which is no JSON: somebody else has its port."""
    content = b""
    async for chunk in response.aiter_raw(chunk_size=MAX_BYTES):
        content += chunk
        if len(content) >= MAX_BYTES:
            break
    return content


def _names(content: bytes, module_id: ModuleId) -> bool:
    """Is it the mixer we asked for? Another process may have its port by now."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("mixerId") == module_id


async def _ask_janus(url: str) -> Answer:
    try:
        async with DirectConnect(
            url,
            subprotocols=[JANUS_PROTOCOL],
            compression=None,
            proxy=None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=0.1,
            max_size=MAX_BYTES,
        ) as socket:
            await socket.send(PING)
            return Answer.ANSWERS if "janus" in str(await socket.recv()) else Answer.REFUSED
    except (InvalidStatus, InvalidUpgrade, NegotiationError):
        return Answer.REFUSED  # somebody else listens there
    except (OSError, TimeoutError, WebSocketException) as error:
        return _failed(error)


def _failed(error: BaseException) -> Answer:
    """Only a refused connection proves that nobody is there.

    >>> _failed(ConnectionRefusedError(errno.ECONNREFUSED, "no")), _failed(TimeoutError())
    (<Answer.REFUSED: 'refused'>, <Answer.SILENT: 'silent'>)
    """
    reasons = [e for e in _causes(error) if isinstance(e, OSError) and e.errno is not None]
    refused = reasons and all(e.errno == errno.ECONNREFUSED for e in reasons)
    return Answer.REFUSED if refused else Answer.SILENT


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and so on; each address tried has one of its own."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
    elif error.__context__ is not None:
        yield from _causes(error.__context__)
