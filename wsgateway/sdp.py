r"""What of an offer and of candidates may reach Janus (RFC 8866, RFC 8839, RFC 8829). Pure.

An offer is one audio line over DTLS, with Opus, in printable ASCII; each rule that is broken is
said in words, which the client gets. Hosts' private addresses pass: where Janus may send its
checks is for its ``ice_enforce_list`` and the firewall. Names instead of addresses do not: looking
one up would block Janus, and a browser that hides behind an mDNS name reaches Janus all the same.

>>> lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111",
...          "c=IN IP4 0.0.0.0", "a=mid:0", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789abcdef012345",
...          "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass",
...          "a=rtpmap:111 opus/48000/2"]
>>> offer("\n".join(lines)) == "".join(line + "\r\n" for line in lines)
True
>>> for bad in (lines[1:], lines[:4], [*lines, "m=video 9 UDP/TLS/RTP/SAVPF 96"],
...             [*lines, "a=setup:active"], [*lines, "a=crypto:1 x"], [*lines, "a=x:\x00"]):
...     try: offer("\r\n".join(bad))
...     except SdpError as error: print(error)
sdp must begin with v=0
sdp has 0 media lines; one is wanted
sdp has 2 media lines; one is wanted
sdp names the same thing twice: a=setup
sdp must hold no keys (a=crypto, a=key-mgmt, k=): media goes over DTLS
sdp holds other characters than printable ASCII
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from pkg.errors import OnairError

MAX_SDP = 16 * 1024  # bytes
MAX_LINES = 200
MAX_CANDIDATES = 50  # with one offer, in it and after it
MAX_CANDIDATE = 256  # bytes
MAX_SOURCES = 32  # a=ssrc lines: browsers send two to four

_LINE = re.compile(r"[b-z]=.*|a=[a-z0-9-]{1,64}(:.+)?")  # Janus reads names in any case: not we
_MEDIA = re.compile(r"m=audio ([0-9]{1,5}) UDP/TLS/RTP/SAVPF((?: [0-9]{1,3}){1,64})")
_ADDRESS = re.compile(r"c=IN IP[46] ([^ ]+)")
_OPUS = re.compile(r"a=rtpmap:([0-9]{1,3}) opus/48000/2", re.IGNORECASE)
# A negative number, or one that overflows to such, makes the AudioBridge of Janus 1.1.2 write into
# its log for ever, and serve nobody any more (tried).
_EXTENSION = re.compile(r"a=extmap:[0-9]{1,5}(/[a-z]{1,16})? .+")
_REFUSED = ("a=crypto:", "a=key-mgmt:", "k=")  # keys in the open: DTLS makes its own
# Attributes that may stand without a value; Janus looks into the value of any other.
_FLAGS = {
    *("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"),
    *("a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp-rsize", "a=bundle-only"),
    *("a=extmap-allow-mixed", "a=end-of-candidates", "a=ice-lite"),
}
_ONCE = ("o=", "s=", "t=")
_MAX_FINGERPRINTS = 4  # one for each hash; anything else that is needed stands once
# Attributes that WebRTC cannot do without.
_NEEDED = {
    "a=ice-ufrag": re.compile(r"[A-Za-z0-9+/]{4,256}"),
    "a=ice-pwd": re.compile(r"[A-Za-z0-9+/]{22,256}"),
    "a=fingerprint": re.compile(r"[a-z0-9-]{5,16} [0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){15,63}"),
    "a=setup": re.compile(r"actpass|active|passive"),
}
_CANDIDATE = re.compile(
    r"candidate:[A-Za-z0-9+/]{1,32} [12] (?:udp|tcp) [0-9]{1,10} "
    r"(?P<address>[^ ]+) (?P<port>[0-9]{1,5}) typ (?:host|srflx|prflx|relay)"
    r"(?: raddr (?P<raddr>[^ ]+) rport (?P<rport>[0-9]{1,5}))?"
    r"(?: (?!raddr |rport )[\x21-\x7e]+ [\x21-\x7e]+)*",
    re.IGNORECASE | re.ASCII,
)
_MDNS = re.compile(r"[A-Za-z0-9-]{1,64}\.local", re.IGNORECASE | re.ASCII)
_MID = re.compile(r"[A-Za-z0-9_.+-]{0,32}")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{0,256}")


class SdpError(OnairError):
    """What is wrong, in words for the one who sent it."""


# --- offers -------------------------------------------------------------------------------


def offer(value: object) -> str:
    """The offer as it may go to Janus: lines end in CRLF, candidates of no use left out.

    Raises SdpError, and nothing else, on anything that is not such an offer.
    """
    lines = _lines(value)
    _check_session(lines)
    _check_media(lines)
    _check_attributes(lines)
    kept = [line for line in lines if not line.startswith("a=candidate:") or _keeps(line)]
    return "".join(line + "\r\n" for line in kept)


def _lines(value: object) -> list[str]:
    if not isinstance(value, str):
        raise SdpError("sdp must be a string")
    if len(value) > MAX_SDP:
        raise SdpError(f"sdp is longer than {MAX_SDP} bytes")
    lines = value.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SdpError(f"sdp has {len(lines)} lines; at most {MAX_LINES}")
    if not re.fullmatch(r"[\x20-\x7e]*", "".join(lines)):
        raise SdpError("sdp holds other characters than printable ASCII")
    for number, line in enumerate(lines, start=1):
        if not _LINE.fullmatch(line):
            raise SdpError(f"sdp: line {number} is not of the form x=value")
        if line.startswith("a=") and ":" not in line and line not in _FLAGS:
            raise SdpError(f"sdp: line {number} is an attribute without a value")
    return lines


def _check_session(lines: Sequence[str]) -> None:
    if lines[0] != "v=0":
        raise SdpError("sdp must begin with v=0")
    for start in ("v=", *_ONCE):
        if (found := _count(lines, start)) != 1:
            raise SdpError(f"sdp has {found} lines {start}; one is wanted")
    for line in lines:
        if line.startswith("c=") and not _is_connection(line):
            raise SdpError("sdp: c= must hold an IP address")


def _is_connection(line: str) -> bool:
    found = _ADDRESS.fullmatch(line)
    return found is not None and _is_address(found[1])


def _check_media(lines: Sequence[str]) -> None:
    media = [line for line in lines if line.startswith("m=")]
    if len(media) != 1:
        raise SdpError(f"sdp has {len(media)} media lines; one is wanted")
    found = _MEDIA.fullmatch(media[0])
    if found is None:
        raise SdpError("sdp: the media line must be m=audio PORT UDP/TLS/RTP/SAVPF FORMATS")
    if not 0 < int(found[1]) < 65536:
        raise SdpError("sdp: the media line's port must be 1 to 65535")
    opus = {match[1] for line in lines if (match := _OPUS.fullmatch(line))}
    if not opus & set(found[2].split()):
        raise SdpError("sdp must offer opus/48000/2")


def _check_attributes(lines: Sequence[str]) -> None:
    if any(line.startswith(_REFUSED) for line in lines):
        raise SdpError("sdp must hold no keys (a=crypto, a=key-mgmt, k=): media goes over DTLS")
    if _count(lines, "a=mid:") > 1:
        raise SdpError("sdp names the same thing twice: a=mid")
    if _count(lines, "a=ssrc:") > MAX_SOURCES:
        raise SdpError(f"sdp has more than {MAX_SOURCES} lines a=ssrc")
    if _count(lines, "a=candidate:") > MAX_CANDIDATES:
        raise SdpError(f"sdp has more than {MAX_CANDIDATES} candidates")
    if not all(_EXTENSION.fullmatch(line) for line in lines if line.startswith("a=extmap:")):
        raise SdpError("sdp: a=extmap is malformed")
    for name, form in _NEEDED.items():
        _check_needed(lines, name, form)


def _check_needed(lines: Sequence[str], name: str, form: re.Pattern[str]) -> None:
    values = [line.removeprefix(name + ":") for line in lines if line.startswith(name + ":")]
    if not values:
        raise SdpError(f"sdp has no {name}")
    if len(values) > (_MAX_FINGERPRINTS if name == "a=fingerprint" else 1):
        raise SdpError(f"sdp names the same thing twice: {name}")
    if not all(form.fullmatch(value) for value in values):
        raise SdpError(f"sdp: {name} is malformed")


def _count(lines: Sequence[str], start: str) -> int:
    return sum(line.startswith(start) for line in lines)


def _keeps(line: str) -> bool:
    return _leads_somewhere(_matched(line.removeprefix("a=")))


def candidates_in(sdp: str) -> int:
    return sdp.count("\r\na=candidate:")


# --- candidates ---------------------------------------------------------------------------


def candidate(value: object) -> dict[str, Any] | None:
    """A trickled candidate, built anew from what is known of an RTCIceCandidateInit; None: that
    was all. Raises SdpError, and nothing else.

    >>> text = "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0"
    >>> candidate({"candidate": text, "sdpMid": "0", "admin_key": "x"}) == {
    ...     "candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}
    True
    >>> candidate(None), candidate({"candidate": "", "sdpMid": "0"})
    (None, None)
    >>> for bad in ("1 1 udp 1 evil.example 1 typ host", "1 1 udp 1 ::1%1 1 typ host",
    ...             "1 1 udp 1 ::1 70000 typ host", "1 1 udp 1 ::1 7 typ host\\r\\na=x:"):
    ...     try: candidate({"candidate": "candidate:" + bad})
    ...     except SdpError as error: print(error)
    a candidate's address must be an IP address
    a candidate's address must be an IP address
    a candidate's port must be 0 to 65535
    candidate is malformed
    """
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("candidate"), str):
        raise SdpError("candidate must be null, or an object with a string named candidate")
    if not value["candidate"]:
        return None
    found: dict[str, Any] = {"candidate": _matched(value["candidate"].removeprefix("a="))[0]}
    found |= _text(value, "sdpMid", _MID)
    found["sdpMLineIndex"] = _line_index(value)
    return found | _text(value, "usernameFragment", _UFRAG)


def leads_somewhere(rebuilt: dict[str, Any]) -> bool:
    """False: of no use to Janus, and to be dropped without a word.

    >>> leads_somewhere({"candidate": "candidate:1 1 udp 1 4f2a.local 50000 typ host"})
    False
    """
    return _leads_somewhere(_matched(rebuilt["candidate"]))


def _matched(text: str) -> re.Match[str]:
    if len(text) > MAX_CANDIDATE:
        raise SdpError(f"a candidate is longer than {MAX_CANDIDATE} bytes")
    found = _CANDIDATE.fullmatch(text)
    if found is None:
        raise SdpError("candidate is malformed")
    for name in ("address", "raddr"):
        if not _is_address(found[name] or "0.0.0.0"):  # noqa: S104  (no socket is bound)
            raise SdpError("a candidate's address must be an IP address")
    if any(int(found[name] or 0) > 65535 for name in ("port", "rport")):
        raise SdpError("a candidate's port must be 0 to 65535")
    return found


def _is_address(text: str) -> bool:
    """An mDNS name as well: browsers send them without asking anyone."""
    if _MDNS.fullmatch(text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _leads_somewhere(found: re.Match[str]) -> bool:
    if _MDNS.fullmatch(found["address"]):
        return False
    address = ipaddress.ip_address(found["address"])
    return not (address.is_multicast or address.is_unspecified)


def _text(value: dict[str, Any], name: str, form: re.Pattern[str]) -> dict[str, str]:
    text = value.get(name)
    if text is None:
        return {}
    if not isinstance(text, str) or not form.fullmatch(text):
        raise SdpError(f"{name} is malformed")
    return {name: text}


def _line_index(value: dict[str, Any]) -> int:
    """The one there is; Janus wants this or ``sdpMid``, and browsers may leave out both."""
    index = value.get("sdpMLineIndex")
    if index is not None and (isinstance(index, bool) or index != 0):
        raise SdpError("sdpMLineIndex must be 0: there is one media line")
    return 0
