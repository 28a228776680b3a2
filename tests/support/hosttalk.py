"""A client of a gateway's session without a socket: asks, keeps what it is told, and checks that
the session keeps to what every connection relies on."""

import json
import random
from collections import Counter
from typing import Any, TypeVar

from pkg.model import Epoch, RoomId
from wsgateway.exchange import (
    Air,
    Answered,
    Close,
    Effect,
    Enter,
    Entered,
    Event,
    Exit,
    Identity,
    MediaUp,
    Offer,
    Peer,
    Place,
    Received,
    RoomSeen,
    Send,
    WakeAt,
    Woken,
)
from wsgateway.session import Session

E = TypeVar("E", bound=Effect)
ROOM, ME = RoomId("blue"), "ann"
ICE: tuple[dict[str, object], ...] = ({"urls": ["stun:stun.example"]},)
OWN = 1  # our participant id

# As Chromium 156 made it, with candidates of its own and of aiortc's kind.
OFFER = "".join(
    line + "\r\n"
    for line in (
        "v=0",
        "o=- 4076449925237816086 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS 4e26deb6-93ed-413b-a496-5c3231d87456",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=ice-ufrag:YC0J",
        "a=ice-pwd:/Crv7lmUk16G2TqMc3OUCMeP",
        "a=ice-options:trickle",
        "a=fingerprint:sha-256 " + ":".join(["3A"] * 32),
        "a=setup:actpass",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=sendrecv",
        "a=msid:4e26deb6-93ed-413b-a496-5c3231d87456 39588aca-5e51-4150-8902-de8215b5f8fd",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=ssrc:127567983 cname:zwFEPUyuFXXzJMqK",
    )
)
CANDIDATE = "candidate:1653862382 1 udp 2113937151 192.0.2.7 36926 typ host generation 0"


def place(number: int = 1) -> Place:
    return Place(f"ws://j{number}", 100_000 + number, Epoch(number), f"pin{number}", f"s{number}")


def on(number: int = 1) -> RoomSeen:
    return RoomSeen(Air.ON, place(number))


class Talk:
    """``answers``: by id, all that came. ``people``: the client's list, as the notifications
    make it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.session = Session(Identity(ROOM, ME, ICE), random.Random(1))
        self.effects: list[Effect] = []
        self.answers: dict[Any, list[dict[str, Any]]] = {}
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        self.people: dict[str, dict[str, Any]] = {}
        self.asked: Counter[Any] = Counter()
        self.closed: Close | None = None
        self.wake: float | None = None
        self._next_id = 0

    # --- in ---

    def tell(self, *events: Event) -> list[Effect]:
        found = [effect for event in events for effect in self._tell(event)]
        self.effects += found
        return found

    def _tell(self, event: Event) -> list[Effect]:
        effects = self.session.handle(event, self.now)
        assert not (self.closed and effects), "nothing comes after a Close"
        for n, effect in enumerate(effects):
            match effect:
                case Send(text):
                    self._read(json.loads(text))
                case WakeAt(time):
                    assert time is None or time > self.now
                    self.wake = time
                case Close():
                    assert n == len(effects) - 1
                    self.closed = effect
                case _:
                    pass
        return effects

    def ask(self, method: str, **params: Any) -> int:
        """The id of the request."""
        self._next_id += 1
        request = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        self.say(request)
        return self._next_id

    def say(self, message: Any) -> list[Effect]:
        for one in message if isinstance(message, list) else [message]:
            if isinstance(one, dict) and "id" in one:
                self.asked[one["id"]] += 1
        return self.tell(Received(json.dumps(message)))

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes; alarms go off when they are due."""
        end, found = self.now + seconds, list[Effect]()
        while self.closed is None and self.wake is not None and self.wake <= end:
            self.now, self.wake = self.wake, None
            found += self.tell(Woken())
        self.now = end
        return found

    # --- out ---

    def _read(self, message: Any) -> None:
        for one in message if isinstance(message, list) else [message]:
            assert one["jsonrpc"] == "2.0"
            if "method" in one:
                self.notifications.append((one["method"], one["params"]))
                self._follow(one["method"], one["params"])
            else:
                self.answers.setdefault(one["id"], []).append(one)
                if isinstance(result := one.get("result"), dict) and "participants" in result:
                    self._list(result["participants"])

    def _list(self, participants: list[dict[str, Any]]) -> None:
        self.people = {p["userId"]: p for p in participants}
        assert len(self.people) == len(participants)

    def _follow(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "participantJoined":
                assert params["participant"]["userId"] not in self.people
                self.people[params["participant"]["userId"]] = params["participant"]
            case "participantUpdated":
                assert self.people[params["participant"]["userId"]] != params["participant"]
                self.people[params["participant"]["userId"]] = params["participant"]
            case "participantLeft":
                del self.people[params["userId"]]
            case "roomMoved":
                self._list(params["participants"])
            case _:
                pass

    def result(self, request: Any) -> Any:
        (answer,) = self.answers[request]
        return answer["result"]

    def error(self, request: Any) -> tuple[int, str]:
        """Code and words."""
        (answer,) = self.answers[request]
        return answer["error"]["code"], answer["error"]["data"]["detail"]

    def of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def news(self) -> list[str]:
        """The methods of the notifications since the last time."""
        found, self.notifications = [method for method, _ in self.notifications], []
        return found

    @property
    def is_entered(self) -> bool:
        """The last word about it was Enter."""
        last = [e for e in self.effects if isinstance(e, Enter | Exit)][-1:]
        return bool(last) and isinstance(last[0], Enter)

    # --- whole steps ---

    def join(self, *others: Peer, number: int = 1) -> "Talk":
        self.tell(on(number))
        self.ask("join", display="Ann")
        self.tell(Entered(self.of(Enter)[-1].attempt, OWN, others))
        return self

    def publish(self) -> int:
        """Until media is up; the offer's number."""
        self.ask("publish", sdp=OFFER)
        number = self.of(Offer)[-1].offer
        self.tell(Answered(number, "v=0 answer", OWN), MediaUp(number))
        return number
