"""Offers and candidates gone wrong, from a seed. Pure; what is hostile here was chosen by what
Janus 1.1.2 parses by hand: numbers, lists of payload types, extension ids, fingerprints, ICE.
"""

import random
from collections.abc import Callable
from typing import TypeAlias

Lines: TypeAlias = list[str]
Mutation: TypeAlias = Callable[[Lines, random.Random], Lines]

# As Chromium offers (shortened in nothing that a server reads).
BROWSER_OFFER = (
    "v=0",
    "o=- 5316244893474216713 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "a=extmap-allow-mixed",
    "a=msid-semantic: WMS 9a3c",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host generation 0 network-cost 999",
    "a=ice-ufrag:pSzx",
    "a=ice-pwd:Y5OQJ0cCkzMpRgKZu4wBbp4R",
    "a=ice-options:trickle",
    "a=fingerprint:sha-256 " + ":".join(f"{n:02X}" for n in range(32)),
    "a=setup:actpass",
    "a=mid:0",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=sendrecv",
    "a=msid:9a3c 5f1e",
    "a=rtcp-mux",
    "a=rtpmap:111 opus/48000/2",
    "a=rtcp-fb:111 transport-cc",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:110 telephone-event/48000",
    "a=ssrc:1733513402 cname:9yTf",
    "a=ssrc:1733513402 msid:9a3c 5f1e",
)
NUMBERS = ("", "0", "-1", "256", "65536", "4294967296", "18446744073709551616", "9" * 400, "1e9")
TEXTS = ("", " ", ":", "/", "\\", '"', "%s%n%x", "é", "\u2028", "a" * 5000, "..", "=", ";", "\t")
CANDIDATE = (
    *("candidate:1", "1", "udp", "2113937151", "127.0.0.1", "50000", "typ", "host"),
    *("generation", "0"),
)
ODDITIES: tuple[object, ...] = (7, -1, 2**40, None, "x" * 300, True, [], {}, 0.5)
EXTRA = (
    "a=rid:h send",
    "a=rid: ",
    "a=simulcast:send h;m;l",
    "a=simulcast:",
    "a=ssrc-group:FID 1 2",
    "a=ssrc-group:SIM 1 2 3 4 5 6 7 8",
    "a=extmap:0 x",
    "a=extmap:99999 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:15 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=rtcp-fb:* nack",
    "a=rtcp-fb:999 nack pli",
    "a=sctp-port:5000",
    "a=max-message-size:0",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
    "a=setup:holdconn",
    "a=fingerprint:md5 00",
    "a=fingerprint:sha-256 ",
    "a=ice-lite",
    "a=end-of-candidates",
    "a=candidate:",
    "a=candidate:1 1 udp 1 x.local 1 typ host",
    "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active",
    "a=candidate:1 9 udp 1 ::1 99999 typ nothing raddr",
    "a=mid:" + "m" * 300,
    "a=msid:" + "s" * 300 + " t",
    "a=rtpmap:111 opus/0/0",
    "a=rtpmap:111",
    "a=fmtp:111 " + "x=1;" * 500,
    "a=bundle-only",
    "a=inactive",
    "a=e2ee",
    "b=AS:0",
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "m=audio 0 UDP/TLS/RTP/SAVPF 111",
    "m=audio 9 RTP/AVP",
    "m=text 9 X 1",
    "c=IN IP6 ::",
    "c=IN IP4 ...",
    "a",
    "=",
    "",
    "z",
)


def offer(rng: random.Random) -> str:
    """One to four things are wrong with it."""
    lines = list(BROWSER_OFFER)
    for _ in range(rng.randint(1, 4)):
        lines = rng.choice(MUTATIONS)(lines, rng)
    return rng.choice(("\r\n", "\r\n", "\r\n", "\n", "\r")).join([*lines, ""])


def candidate(rng: random.Random) -> dict[str, object]:
    words = list(CANDIDATE)
    for _ in range(rng.randint(0, 3)):
        words[rng.randrange(len(words))] = rng.choice((*NUMBERS, *TEXTS))
    named: dict[str, object] = {"candidate": " ".join(words), "sdpMid": "0", "sdpMLineIndex": 0}
    if rng.random() < 0.2:
        named[rng.choice(tuple(named))] = rng.choice(ODDITIES)
    return named


def _drop(lines: Lines, rng: random.Random) -> Lines:
    at = rng.randrange(len(lines))
    return lines[:at] + lines[at + 1 :] if len(lines) > 1 else lines


def _repeat(lines: Lines, rng: random.Random) -> Lines:
    at = rng.randrange(len(lines))
    return lines[:at] + [lines[at]] * rng.choice((2, 3, 50)) + lines[at + 1 :]


def _swap(lines: Lines, rng: random.Random) -> Lines:
    shuffled, one, other = list(lines), rng.randrange(len(lines)), rng.randrange(len(lines))
    shuffled[one], shuffled[other] = shuffled[other], shuffled[one]
    return shuffled


def _insert(lines: Lines, rng: random.Random) -> Lines:
    at = rng.randint(0, len(lines))
    return [*lines[:at], rng.choice(EXTRA), *lines[at:]]


def _section(lines: Lines, rng: random.Random) -> Lines:
    """One media section more, or a hundred."""
    start = next((i for i, line in enumerate(lines) if line.startswith("m=")), 0)
    return lines + lines[start:] * rng.choice((1, 1, 2, 20))


def _number(lines: Lines, rng: random.Random) -> Lines:
    return _on_a_line(lines, rng, "0123456789", NUMBERS)


def _text(lines: Lines, rng: random.Random) -> Lines:
    return _on_a_line(lines, rng, " :/=;-", TEXTS)


def _on_a_line(lines: Lines, rng: random.Random, found: str, put: tuple[str, ...]) -> Lines:
    """In the place of one of the characters ``found``."""
    at = rng.randrange(len(lines))
    places = [i for i, character in enumerate(lines[at]) if character in found]
    if not places:
        return lines
    where = rng.choice(places)
    return [
        *lines[:at],
        lines[at][:where] + rng.choice(put) + lines[at][where + 1 :],
        *lines[at + 1 :],
    ]


def _cut(lines: Lines, rng: random.Random) -> Lines:
    at = rng.randrange(len(lines))
    return [*lines[:at], lines[at][: rng.randint(0, len(lines[at]))], *lines[at + 1 :]]


MUTATIONS: tuple[Mutation, ...] = (
    _drop,
    _repeat,
    _swap,
    _insert,
    _insert,
    _section,
    _number,
    _number,
    _text,
    _cut,
)
