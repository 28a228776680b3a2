"""A host that plays a sine into an AudioBridge room, over Janus's own WebSocket API and WebRTC.

``async with Bot(ws_url, room, pin, 440) as bot: await bot.connected()``. About 4 % of a core each.
Protocol: https://janus.conf.meetecho.com/docs/rest.html and …/audiobridge.html.
"""

import asyncio
import itertools
import json
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.caller import Caller
from bench.line import ended
from janusmanager.messages import PLUGIN

KEEPALIVE_SECONDS = 20.0  # Janus forgets a silent session after 60 s
ANSWER_SECONDS = 30.0

Message = dict[str, Any]


class BotError(Exception):
    """Janus refused the bot (wrong pin, no such room), or did not answer."""


class Signalling:
    """Janus's session API on one socket: a session, one AudioBridge handle, its events."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._address: Message = {}
        self.events: list[Message] = []  # what came unasked: "event", "webrtcup", "hangup", …

    async def attach(self) -> None:
        session = await self.ask({"janus": "create"})
        self._address = {"session_id": session["data"]["id"]}
        handle = await self.ask({"janus": "attach", "plugin": PLUGIN})
        self._address["handle_id"] = handle["data"]["id"]

    async def plugin(self, body: Message, jsep: Message | None = None) -> Message:
        """A plugin request and its event, the ``ack`` skipped. Raises BotError."""
        message: Message = {"janus": "message", "body": body}
        event = await self.ask(message | ({"jsep": jsep} if jsep else {}))
        data: Message = event.get("plugindata", {}).get("data", {})
        if "error_code" in data:
            raise BotError(f"{data['error']} ({data['error_code']})")
        return event

    async def ask(self, message: Message) -> Message:
        transaction = f"bot-{next(self._numbers)}"
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = future
        text = json.dumps({"transaction": transaction} | self._address | message)
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                await self._socket.send(text)
                reply = await future
        finally:
            del self._waiting[transaction]
        if reply["janus"] == "error":
            raise BotError(f"{reply['error']['reason']} ({reply['error']['code']})")
        return reply

    async def read(self) -> None:
        """Hand out replies until the socket ends."""
        try:
            async for text in self._socket:
                self._deliver(json.loads(text))
        except ConnectionClosed:
            return

    def _deliver(self, message: Message) -> None:
        waiting = self._waiting.get(message.get("transaction", ""))
        if waiting is None or waiting.done():
            self.events.append(message)
        elif message["janus"] != "ack":  # an ack only promises the event
            waiting.set_result(message)

    async def keep_alive(self) -> None:
        while True:
            await anyio.sleep(KEEPALIVE_SECONDS)
            await self._socket.send(json.dumps(self._keepalive()))

    def _keepalive(self) -> Message:
        session = {"session_id": self._address["session_id"]}
        return {"janus": "keepalive", "transaction": "keepalive"} | session

    async def leave(self) -> None:
        """Leave the room and end the session; a Janus that is gone is no error."""
        try:
            await self.plugin({"request": "leave"})
            del self._address["handle_id"]
            await self.ask({"janus": "destroy"})
        except (BotError, ConnectionClosed, TimeoutError):
            return


class Bot:
    """In the room once entered; ``connected`` waits for WebRTC. Raises BotError on entering."""

    def __init__(
        self,
        ws_url: str,
        room: int,
        pin: str,
        frequency: float,
        *,
        display: str = "bot",
        listens: bool = True,
    ) -> None:
        self._ws_url = ws_url
        self._join = {"request": "join", "room": room, "pin": pin, "display": display}
        self._frequency = frequency
        self._listens = listens
        self._stack = AsyncExitStack()
        self.caller: Caller
        self.signalling: Signalling

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            socket = await stack.enter_async_context(
                connect(self._ws_url, subprotocols=[Subprotocol("janus-protocol")], proxy=None)
            )
            self.signalling = Signalling(socket)
            stack.push_async_callback(ended, asyncio.create_task(self.signalling.read()))
            await self.signalling.attach()
            stack.push_async_callback(ended, asyncio.create_task(self.signalling.keep_alive()))
            await self.signalling.plugin(self._join)
            stack.push_async_callback(self.signalling.leave)
            await self._publish(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _publish(self, stack: AsyncExitStack) -> None:
        self.caller = Caller(self._frequency, listens=self._listens)
        stack.push_async_callback(self.caller.close)
        offer = {"type": "offer", "sdp": await self.caller.offer()}
        event = await self.signalling.plugin({"request": "configure", "muted": False}, offer)
        await self.caller.accept(event["jsep"]["sdp"])

    async def connected(self, within: float = 30.0) -> None:
        """Wait until audio can flow. Raises TimeoutError."""
        await self.caller.connected(within)

    async def mute(self, *, muted: bool = True) -> None:
        await self.signalling.plugin({"request": "configure", "muted": muted})
