"""One webhook: resolve, judge, connect to that very address, send, read a little (§7.1, §12.8)."""

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import anyio
import httpx

from pkg.errors import TransientError
from streams.subscriptions import addresses
from streams.subscriptions.refusals import Denied

MAX_ANSWER_BYTES = 64 * 1024
MAX_ADDRESSES = 3
CONCURRENCY = 32


class UndeliveredError(TransientError):
    """The receiver was not reached, or did not accept; the text says why, and names no URL."""


class Sender(Protocol):
    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Answers whether the receiver says it is done. Raises UndeliveredError."""
        ...


class HttpSender:
    """Follows no redirect, knows no proxy, keeps no connection: a kept one is bound to the name
    it was opened for, and two names may have one address."""

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(trust_env=False, limits=limits, timeout=None)  # noqa: S113

    async def __aenter__(self) -> "HttpSender":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Without an end of its own: the caller bounds the time."""
        try:
            where = addresses.judge(url, loopback=self._loopback)
            *others, last = await self._addresses(where)
            for address in others:
                with suppress(httpx.ConnectError):
                    return await self._send_to(where, address, body, headers)
            return await self._send_to(where, last, body, headers)
        except httpx.HTTPError as error:
            raise UndeliveredError(type(error).__name__) from None
        except Denied as denied:
            raise UndeliveredError(denied.detail) from None

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """All must be allowed, or none is: who mixes them is up to something."""
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            answers = await anyio.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise UndeliveredError("the name has no address") from None
        found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        if not all(addresses.may_reach(url, one, loopback=self._loopback) for one in found):
            raise UndeliveredError("the name has a private or local address")
        return found[:MAX_ADDRESSES]

    async def _send_to(
        self, url: httpx.URL, address: str, body: bytes, headers: Mapping[str, str]
    ) -> bool:
        """TLS is checked against the name, though the address is what is connected to."""
        named = {**headers, "Host": url.netloc.decode(), "Accept-Encoding": "identity"}
        request = self._http.build_request(
            "POST",
            url.copy_with(host=address),
            headers=named,
            content=body,
            extensions={"sni_hostname": url.host},
        )
        answer = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            if not answer.is_success:
                raise UndeliveredError(f"status {answer.status_code}")
            return await _says_done(answer)
        finally:
            await answer.aclose()


async def _says_done(answer: httpx.Response) -> bool:
    data = b""
    async for piece in answer.aiter_raw():
        data += piece
        if len(data) > MAX_ANSWER_BYTES:
            return False
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("done") is True
