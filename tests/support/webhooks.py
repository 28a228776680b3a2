"""Somebody who receives webhooks, on a real socket: what came, and what is answered."""

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pkg.httpserver import Receive, Scope, Send, Tls, listen, serving

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook as it came."""

    path: str
    signature: str
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    def verify(self, jwks: Mapping[str, Any]) -> None:
        """As a receiver does (§7.1). Raises InvalidSignature, KeyError."""
        parts = dict(part.split("=", 1) for part in self.signature.split(","))
        keys = {key["kid"]: key["x"] for key in jwks["keys"]}
        public = Ed25519PublicKey.from_public_bytes(_plain(keys[parts["kid"]]))
        public.verify(_plain(parts["ed25519"]), parts["t"].encode() + b"." + self.raw)


def _plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Receiver:
    """``status``, ``headers`` and ``answer`` may be changed at any time; while ``open`` is not
    set, nobody is answered."""

    url: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytes = b"{}"
    hooks: list[Hook] = field(default_factory=list)
    open: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw, more = b"", True
        while more:
            message = await receive()
            raw, more = raw + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.hooks.append(Hook(scope["path"], headers.get("webhook-signature", ""), raw))
        await self.open.wait()
        pairs = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": self.answer})

    async def came(self, count: int) -> Hook:
        """The ``count``-th webhook, waited for."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while len(self.hooks) < count:
                await anyio.sleep(0.01)
        return self.hooks[count - 1]


@asynccontextmanager
async def receiving(tls: Tls | None = None) -> AsyncGenerator[Receiver]:
    found, bound = Receiver(), listen("127.0.0.1:0")
    found.url = f"{'https' if tls else 'http'}://127.0.0.1:{bound.getsockname()[1]}/hook"
    found.open.set()
    async with serving(found, bound, tls=tls):
        yield found
        found.open.set()
