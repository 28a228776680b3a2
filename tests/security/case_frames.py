"""The gateway's corpus, second part: what a host with a good token sends, and what he gets.

A talk is sent on a connection of its own; then a ping must be answered, unless it is closed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.security.case_bodies import NOT_JSON
from tests.support.hosttalk import CANDIDATE, OFFER
from tests.support.sdp_mutations import BROWSER_OFFER, EXTRA
from wsgateway.rules import METHODS, Code
from wsgateway.sdp import MAX_CANDIDATES

Codes = frozenset[int | None]  # of errors; None: a result
FINE: Codes = frozenset({None})
WRONG: Codes = frozenset({Code.INVALID_PARAMS})
EITHER = FINE | WRONG


@dataclass(frozen=True)
class Talk:
    """``send``: text, or the bytes of a text frame that is not UTF-8; ``binary`` and ``raw`` bytes
    are other frames. ``codes``: one for each answer. ``joined``: before, in a room on air."""

    name: str
    send: tuple[str | bytes, ...] = ()
    codes: tuple[Codes, ...] = ()
    closes: int | None = None
    joined: bool = False
    binary: bool = False
    raw: bytes = b""


def request(method: str, params: object = None, call_id: object = 1) -> str:
    message: dict[str, Any] = {"id": call_id, "method": method}
    return json.dumps(message if params is None else message | {"params": params})


def talks() -> Iterator[Talk]:
    yield from _frames()
    yield from _json()
    yield from _requests()
    yield from _params()
    yield from _offers()
    yield from _candidates()


# -- frames (RFC 6455) ----------------------------------------------------------------------


def _frame(first: int, payload: bytes = b"", *, masked: bool = True, length: int = -1) -> bytes:
    size = len(payload) if length < 0 else length
    return bytes([first, (0x80 if masked else 0) | size]) + (b"\0" * 4 if masked else b"") + payload


def _frames() -> Iterator[Talk]:
    yield Talk("binary", (b"{}",), closes=1003, binary=True)
    yield Talk("binary, empty", (b"",), closes=1003, binary=True)
    for what, bad in {
        "not UTF-8": b"\xff\xfe",
        "overlong": b"\xc0\xaf",
        "a surrogate": b"\xed\xa0\x80",
        "cut": b'{"a":"\xc3',
        "beyond Unicode": b"\xf4\x90\x80\x80",
    }.items():
        yield Talk(f"text {what}", (bad,), closes=1007)
    yield Talk("64 KiB and one", ("x" * 65_537,), closes=1009)
    yield Talk("a megabyte", ("x" * 1_000_000,), closes=1009)
    yield Talk("64 KiB", (" " * 65_536,), (frozenset({Code.MALFORMED}),))
    yield Talk("too many", tuple('{"method":"ping"}' for _ in range(130)), closes=1008)
    yield Talk("too many in batches", ("[" + ",".join(["1"] * 10) + "]",) * 13, closes=1008)
    yield Talk("an endless batch", ("[" + ",".join(["1"] * 30_000) + "]",), closes=1008)
    ping = b'{"id":1,"method":"ping"}'
    for what, raw, code in (
        ("not masked", _frame(0x81, ping, masked=False), 1002),
        ("reserved bit", _frame(0xC1, ping), 1002),
        ("opcode 3", _frame(0x83, ping), 1002),
        ("opcode 11", _frame(0x8B, ping), 1002),
        ("ping in parts", _frame(0x09, b"x"), 1002),
        ("part of nothing", _frame(0x80, ping), 1002),
        ("text within a text", _frame(0x01, b"{") + _frame(0x81, ping), 1002),
        ("close of one byte", _frame(0x88, b"\x03"), 1002),
        ("close with 1005", _frame(0x88, b"\x03\xed"), 1002),
        ("close not UTF-8", _frame(0x88, b"\x03\xe8\xff"), 1007),
        ("a long ping", bytes([0x89, 0xFE, 0, 126, 0, 0, 0, 0]) + b"x" * 126, 1002),
        ("2 GiB announced", bytes([0x81, 0xFF, 0, 0, 0, 0, 0x80, 0, 0, 0]) + b"\0" * 4, 1009),
        ("2^63 announced", bytes([0x81, 0xFF, 0x80]) + b"\0" * 11, 1009),
    ):
        yield Talk(f"frame {what}", closes=code, raw=raw)


def _json() -> Iterator[Talk]:
    for what, bad in NOT_JSON.items():
        try:
            text = bad.decode()
        except UnicodeDecodeError:
            yield Talk(f"JSON {what}", (bad,), closes=1007)
        else:
            yield Talk(f"JSON {what}", (text,), (frozenset({Code.MALFORMED}),))


# -- JSON-RPC -------------------------------------------------------------------------------

INVALID: Codes = frozenset({Code.INVALID_REQUEST})
SERVER_ONLY = ("participantJoined", "participantLeft", "participantUpdated", "roomMoved")
UNKNOWN = (
    *SERVER_ONLY,
    *("roomClosed", "mediaLost", "mutedBy", "", "Join", "join ", " join", "ping\0", "kick"),
    *("rpc.discover", "__proto__", "constructor", "rtp_forward", "configure", "create", "destroy"),
    *("listforwarders", "play_file", "enable_recording", "edit", "stop_rtp_forward", "x" * 60_000),
)

MORE = {"method": "ping", "id": 1, "x": 1}
NO_REQUESTS: tuple[object, ...] = ([], "a", 1, 1.5, True, None, {}, {"id": 1}, MORE)
BAD_IDS: tuple[object, ...] = ({}, [], True, False, [1], {"a": 1}, "x" * 129)
NO_NAMES: tuple[object, ...] = (1, None, [], {}, True)
VERSIONS: tuple[object, ...] = ("1.0", "2", 2.0, None, [], "2.0 ")
BAD_DISPLAYS: tuple[object, ...] = (1, [], {}, True, "x" * 65, "é" * 65, ["Ann"])


def _requests() -> Iterator[Talk]:
    for wrong in NO_REQUESTS:
        yield Talk(f"no request: {wrong!r}", (json.dumps(wrong),), (INVALID,))
    for call_id in BAD_IDS:
        yield Talk(f"id {call_id!r:.30}", (request("ping", call_id=call_id),), (INVALID,))
    for fine in (1, "1", 0, -1, 1.5, "", "x" * 128, 2**70, None):
        yield Talk(f"id {fine!r:.30} is fine", (request("ping", call_id=fine),), (FINE,))
    for method in NO_NAMES:
        text = json.dumps({"id": 1, "method": method})
        yield Talk(f"method {method!r}", (text,), (INVALID,))
    for method in UNKNOWN:
        codes = (frozenset({Code.UNKNOWN_METHOD}),)
        yield Talk(f"method {method!r:.30}", (request(method),), codes)
        yield Talk(f"{method!r:.30}, nobody asks", (json.dumps({"method": method}),))
    for version in VERSIONS:
        text = json.dumps({"jsonrpc": version, "id": 1, "method": "ping"})
        yield Talk(f"version {version!r}", (text,), (INVALID,))
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}})
    yield Talk("an answer", (answer,), (INVALID,))
    yield Talk("an error", (answer.replace("result", "error"),), (INVALID,))
    yield from _batches()


def _batches() -> Iterator[Talk]:
    ping = {"id": 1, "method": "ping"}
    many = [ping | {"id": n} for n in range(11)]
    join = request("join")
    yield Talk("batch of none", ("[]",), (INVALID,))
    yield Talk("batch of 10", (json.dumps(many[:10]),), (FINE,) * 10)
    yield Talk("batch of 11", (json.dumps(many),), (INVALID,))
    yield Talk("batch in a batch", (json.dumps([[ping]]),), (INVALID,))
    yield Talk("batch of anything", (json.dumps([1, {}, ping]),), (INVALID, INVALID, FINE))
    yield Talk("batch that nobody asks", (json.dumps([{"method": "ping"}] * 3),))
    yield Talk("an id twice in a batch", (json.dumps([ping, ping]),), (FINE, INVALID))
    off: Codes = frozenset({Code.ROOM_NOT_ONAIR})
    yield Talk("an id that still waits", (join, request("ping")), (INVALID, off))
    yield Talk("a hundred joins", (join.replace("1", "%d"),), (frozenset({Code.MALFORMED}),))
    late: Codes = frozenset({Code.CLOSING})
    twice = json.dumps([{"id": n, "method": "leave"} for n in (1, 2)])
    yield Talk("leave twice", (twice,), (FINE, late), closes=1000)
    yield Talk("leave that nobody asks", ('{"method":"leave"}',), closes=1000)


# -- what may not reach Janus (the allow-list) ----------------------------------------------

FORBIDDEN = (
    *("request", "admin_key", "secret", "room", "pin", "rtp_forward", "file", "record", "rec_dir"),
    *("permanent", "play_file", "janus", "session_id", "handle_id", "transaction", "body", "jsep"),
    *("id", "token", "group", "codec", "quality", "volume", "__proto__", "userId", "muted"),
)


def _params() -> Iterator[Talk]:
    for method in METHODS:
        for name in FORBIDDEN:
            text = request(method, {name: "x"})
            yield Talk(f"{method} with {name}", (text,), (WRONG,))
            yield Talk(f"{method} with {name}, joined", (text,), (WRONG,), joined=name == "room")
        for value in ([], "x", 1, True, ["x"]):
            yield Talk(f"{method} with {value!r}", (request(method, value),), (WRONG,))
    for method in ("publish", "trickle", "mute", "unmute"):
        params = {"publish": {"sdp": OFFER}, "trickle": {"candidate": None}}.get(method)
        codes = (frozenset({Code.NOT_JOINED}),)
        yield Talk(f"{method} before join", (request(method, params),), codes)
    for bad in BAD_DISPLAYS:
        text = request("join", {"display": bad})
        yield Talk(f"display {bad!r:.30}", (text,), (WRONG,))
    for display in ("", "\0", "\u202eevil", '","u":"bob', "<script>alert(1)</script>", "x" * 64):
        text = request("join", {"display": display})
        yield Talk(f"display {display!r:.30}, twice", (text, text), (FINE, FINE), joined=True)


# -- SDP and ICE ----------------------------------------------------------------------------

LINES = OFFER.splitlines()


def _with(*more: str) -> str:
    return "\r\n".join([*LINES, *more, ""])


BAD_OFFERS: dict[str, object] = {
    "none": None,
    "a number": 7,
    "a list": [OFFER],
    "empty": "",
    "words": "hello",
    "byte order mark": "\ufeff" + OFFER,
    "NUL": _with("a=mid\0"),
    "17 KiB": _with("a=x:" + "y" * 17_000),
    "201 lines": _with(*["a=rtcp-mux"] * 201),
    "two voices": _with("m=audio 9 UDP/TLS/RTP/SAVPF 111"),
    "video": _with("m=video 9 UDP/TLS/RTP/SAVPF 96"),
    "video only": OFFER.replace("m=audio", "m=video"),
    "data": _with("m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
    "plain RTP": OFFER.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    "SDES": OFFER.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"),
    "crypto": _with("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc"),
    "k": _with("k=clear:abc"),
    "port 0": OFFER.replace("m=audio 9 ", "m=audio 0 "),
    "port 65536": OFFER.replace("m=audio 9 ", "m=audio 65536 "),
    "port -1": OFFER.replace("m=audio 9 ", "m=audio -1 "),
    "mid twice": _with("a=mid:1"),
    "ufrag twice": _with("a=ice-ufrag:abcd"),
    "CR inside": _with("a=x:y\ra=crypto:z"),
    "separator inside": _with("a=x:\u2028y"),
    "100 sources": _with(*[f"a=ssrc:{n} cname:x" for n in range(100)]),
    "51 candidates": _with(*["a=" + CANDIDATE] * (MAX_CANDIDATES + 1)),
    "a name as a candidate": _with("a=candidate:1 1 udp 1 evil.example 9 typ host"),
    "a name to connect to": OFFER.replace("c=IN IP4 0.0.0.0", "c=IN IP4 evil.example"),
    "no fingerprint": "\r\n".join(x for x in LINES if "fingerprint" not in x),
    "no password": "\r\n".join(x for x in LINES if "ice-pwd" not in x),
    "no Opus": OFFER.replace("opus/48000/2", "pcmu/8000"),
    "extension -1": _with("a=extmap:-1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    "extension 2^64": _with(f"a=extmap:{2**64} urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    "a long fingerprint": _with("a=fingerprint:sha-256 " + "AA:" * 4000 + "AA"),
}


def _offers() -> Iterator[Talk]:
    for what, sdp in BAD_OFFERS.items():
        yield Talk(f"offer: {what}", (request("publish", {"sdp": sdp}),), (WRONG,), joined=True)
    yield Talk("offer: missing", (request("publish"),), (WRONG,), joined=True)
    for line in EXTRA:
        text = "\r\n".join([*BROWSER_OFFER, line, ""])
        sent = (request("publish", {"sdp": text}),)
        yield Talk(f"offer with {line!r:.40}", sent, (EITHER,), joined=True)
    late: Codes = frozenset({Code.SUPERSEDED, Code.INVALID_PARAMS, None})
    flood = tuple(request("publish", {"sdp": OFFER}, n) for n in range(30))
    yield Talk("offers: a flood", flood, (late,) * 30, joined=True)


BAD_CANDIDATES: dict[str, object] = {
    "a number": 7,
    "a string": CANDIDATE,
    "a list": [CANDIDATE],
    "nothing": {},
    "no string": {"candidate": 7},
    "words": {"candidate": "hello"},
    "257 bytes": {"candidate": CANDIDATE + " x" * 100 + " " * 57},
    "a name": {"candidate": "candidate:1 1 udp 1 evil.example 9 typ host"},
    "a zone": {"candidate": "candidate:1 1 udp 1 fe80::1%eth0 9 typ host"},
    "port 70000": {"candidate": "candidate:1 1 udp 1 192.0.2.1 70000 typ host"},
    "a line more": {"candidate": CANDIDATE + "\r\na=crypto:x"},
    "NUL": {"candidate": CANDIDATE + "\0"},
    "not ASCII": {"candidate": CANDIDATE.replace("192", "١٩٢")},
    "a raddr that is a name": {"candidate": CANDIDATE + " raddr evil.example rport 9"},
    "sdpMid a number": {"candidate": CANDIDATE, "sdpMid": 0},
    "sdpMid long": {"candidate": CANDIDATE, "sdpMid": "m" * 33},
    "sdpMid with a line end": {"candidate": CANDIDATE, "sdpMid": "0\n"},
    "index 1": {"candidate": CANDIDATE, "sdpMLineIndex": 1},
    "index -1": {"candidate": CANDIDATE, "sdpMLineIndex": -1},
    "index true": {"candidate": CANDIDATE, "sdpMLineIndex": True},
    "index 2^40": {"candidate": CANDIDATE, "sdpMLineIndex": 2**40},
    "ufrag long": {"candidate": CANDIDATE, "usernameFragment": "u" * 257},
}
USELESS = ("127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "0.0.0.1", "ff02::1", "4f2a.local")


def _candidates() -> Iterator[Talk]:
    offer = request("publish", {"sdp": OFFER}, 0)
    for what, bad in BAD_CANDIDATES.items():
        sent = (offer, request("trickle", {"candidate": bad}))
        yield Talk(f"candidate: {what}", sent, (EITHER, WRONG), joined=True)
    yield Talk("candidate: missing", (offer, request("trickle", {})), (EITHER, WRONG), joined=True)
    for address in USELESS:
        candidate = {"candidate": f"candidate:1 1 udp 1 {address} 9 typ host", "janus": "x"}
        sent = (offer, request("trickle", {"candidate": candidate}))
        yield Talk(f"candidate at {address}", sent, (EITHER, FINE), joined=True)
    one = {"candidate": CANDIDATE, "sdpMid": "0"}
    flood = tuple(request("trickle", {"candidate": one}, n) for n in range(1, 60))
    wanted = (EITHER, *(FINE,) * MAX_CANDIDATES, *(WRONG,) * (59 - MAX_CANDIDATES))
    yield Talk("candidates: 59", (offer, *flood), wanted, joined=True)
    alone = (request("trickle", {"candidate": one}),)
    yield Talk("candidate without an offer", alone, (WRONG,), joined=True)
