"""``./onair tone``: a test tone in a room, so that one can hear it before hosts can join.

A plain-RTP participant of the AudioBridge (https://janus.conf.meetecho.com/docs/audiobridge.html):
a session on Janus's own WebSocket API joins, and FFmpeg sends the sine to the port it is told.
The pin is derived from the master secret, so this works beside an ``up`` only, not from afar.
"""

import itertools
import json
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from cli.client import Client
from pkg.errors import OnairError
from pkg.secrets import host_pin

PLUGIN = "janus.plugin.audiobridge"
PAYLOAD_TYPE = 111
ANSWER_SECONDS = 5.0
LOOK_SECONDS = 0.5  # a Janus that died is noticed
KEEPALIVE_LOOKS = 40  # every 20 s; Janus forgets a silent session after 60 s
NOT_THERE = "is not in a Janus yet: ./onair rooms start"


class ToneError(OnairError):
    """The room has no AudioBridge to play into, or Janus refused."""


class Session:
    """One session on one socket, its requests one after the other."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._address: dict[str, Any] = {}

    def open(self) -> None:
        self._address = {"session_id": self.ask({"janus": "create"})["data"]["id"]}
        handle = self.ask({"janus": "attach", "plugin": PLUGIN})
        self._address["handle_id"] = handle["data"]["id"]

    def request(self, **body: Any) -> dict[str, Any]:
        """A plugin request; answers its event's data. Raises ToneError."""
        event = self.ask({"janus": "message", "body": body})
        data: dict[str, Any] = event["plugindata"]["data"]
        if "error_code" in data:
            raise ToneError(f"Janus: {data['error']} ({data['error_code']})")
        return data

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        transaction = f"tone-{next(self._numbers)}"
        self._socket.send(json.dumps({"transaction": transaction} | self._address | message))
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            left = deadline - time.monotonic()
            answer: dict[str, Any] = json.loads(self._socket.recv(timeout=max(0.0, left)))
            if answer.get("transaction") != transaction:
                continue
            if answer["janus"] == "error":
                raise ToneError(f"Janus: {answer['error']['reason']}")
            if answer["janus"] != "ack" or message["janus"] == "keepalive":
                return answer

    def keep_alive(self) -> None:
        self.ask({"janus": "keepalive"})

    def check(self) -> None:
        """Read what came unasked. Raises WebSocketException if Janus is gone."""
        with suppress(TimeoutError):
            while True:
                self._socket.recv(timeout=0)


@contextmanager
def participant(url: str, number: int, pin: str) -> Generator[tuple[Session, str]]:
    """In the room as long as the block lasts; yields the RTP address to send to."""
    try:
        with connect(url, subprotocols=[Subprotocol("janus-protocol")], proxy=None) as socket:
            session = Session(socket)
            session.open()
            joined = session.request(
                request="join",
                room=number,
                pin=pin,
                display="test tone",
                rtp={"payload_type": PAYLOAD_TYPE},
            )
            rtp = joined["rtp"]
            yield session, f"rtp://{rtp['ip']}:{rtp['port']}"
            session.request(request="leave")
    except (OSError, TimeoutError, WebSocketException) as error:
        raise ToneError(f"Janus at {url}: {str(error) or type(error).__name__}") from None


def argv(target: str, hertz: int, seconds: int) -> list[str]:
    """
    >>> argv("rtp://127.0.0.1:10000", 440, 60)[-1]
    'rtp://127.0.0.1:10000'
    """
    return [
        *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-re"),
        *("-f", "lavfi", "-i", f"sine=frequency={hertz}:sample_rate=48000", "-t", str(seconds)),
        *("-ac", "2", "-c:a", "libopus", "-b:a", "48k"),
        *("-payload_type", str(PAYLOAD_TYPE), "-f", "rtp", target),
    ]


def play(client: Client, master: bytes, room_id: str, hertz: int, seconds: int) -> None:
    """Play for ``seconds``; blocks. Raises ToneError, RefusedError."""
    janus = client.call("GET", f"/api/rooms/{room_id}/explain")["observed"].get("janus")
    if not janus or not janus.get("endpoints", {}).get("ws"):
        raise ToneError(f"{room_id} {NOT_THERE} {room_id}")
    pin = host_pin(master, room_id, janus["epoch"])
    with (
        participant(janus["endpoints"]["ws"], janus["janusRoomId"], pin) as (session, target),
        subprocess.Popen(argv(target, hertz, seconds), stdin=subprocess.DEVNULL) as sender,
    ):
        try:
            _until_over(sender, session)
        finally:
            sender.terminate()


def _until_over(sender: subprocess.Popen[bytes], session: Session) -> None:
    for look in itertools.count(1):
        try:
            code = sender.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            session.check()
            if look % KEEPALIVE_LOOKS == 0:
                session.keep_alive()
        else:
            if code != 0:
                raise ToneError(f"FFmpeg ended with {code}")
            return
