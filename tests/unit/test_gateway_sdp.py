"""What of an offer and of candidates may reach Janus (wsgateway/sdp.py; spec/security.md 4.5)."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.hosttalk import CANDIDATE, OFFER
from wsgateway.sdp import (
    MAX_CANDIDATE,
    MAX_CANDIDATES,
    MAX_LINES,
    MAX_SDP,
    MAX_SOURCES,
    SdpError,
    candidate,
    leads_somewhere,
    offer,
)

LINES = OFFER.splitlines()
AIORTC = [  # 1.16: candidates and three fingerprints in the offer
    "v=0",
    "o=- 4004267912 4004267912 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "a=msid-semantic:WMS *",
    "m=audio 33830 UDP/TLS/RTP/SAVPF 96 9 0 8",
    "c=IN IP4 192.0.2.2",
    "a=sendrecv",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=mid:0",
    "a=msid:11f17178-f0f8-41e9-8d3b-9e6b85fa89b5 9544d2eb-8cc2-4ce5-8e30-074076dcd2fa",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=rtcp-mux",
    "a=ssrc:1663953999 cname:c432e33b-ba6e-416f-bd9b-c1ccfa226049",
    "a=rtpmap:96 opus/48000/2",
    "a=rtpmap:9 G722/8000",
    "a=candidate:f957a2332b1715da3b0ef8ba684454eb 1 udp 2130706431 192.0.2.2 33830 typ host",
    "a=candidate:d0bcf3d9c29a2bc887618212a1623bfa 1 udp 2130706431 fd00::2 35085 typ host",
    "a=end-of-candidates",
    "a=ice-ufrag:VcLA",
    "a=ice-pwd:bdICxnTcC2v0cAz4vDIVHH",
    *(f"a=fingerprint:sha-{n} " + ":".join(["66"] * (n // 8)) for n in (256, 384, 512)),
    "a=setup:actpass",
]
FIREFOX = [  # the session level holds what others say of the medium
    "v=0",
    "o=mozilla...THIS_IS_SDPARTA-99.0 6912519302943210542 0 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=sendrecv",
    "a=fingerprint:sha-256 " + ":".join(["0F"] * 32),
    "a=group:BUNDLE 0",
    "a=ice-options:trickle",
    "a=msid-semantic:WMS *",
    "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101",
    "c=IN IP6 ::",
    "a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1",
    "a=ice-pwd:0c7b2bc4a38d4bd1bd2bd4c1d2a1e3f4",
    "a=ice-ufrag:3b1c5e0a",
    "a=mid:0",
    "a=msid:{f2a0b1c2-d3e4-4f50-8a6b-7c8d9e0f1a2b} {0b1c2d3e-4f50-4a6b-8c7d-8e9f0a1b2c3d}",
    "a=rtcp-mux",
    "a=rtpmap:109 opus/48000/2",
    "a=setup:actpass",
    "a=ssrc:2655508255 cname:{735484ea-4f6c-f74a-bd66-7425f8476c2e}",
]


def _text(*lines: str) -> str:
    return "".join(line + "\r\n" for line in lines)


def _with(*more: str) -> str:
    return _text(*LINES, *more)


def _replaced(old: str, new: str) -> str:
    assert old in OFFER
    return OFFER.replace(old, new)


@pytest.mark.parametrize("lines", [LINES, AIORTC, FIREFOX])
def test_offers_of_browsers_and_bots_pass_as_they_are(lines: list[str]) -> None:
    assert offer(_text(*lines)) == _text(*lines)
    assert offer("\n".join(lines)) == _text(*lines)


def test_candidates_that_lead_nowhere_are_left_out() -> None:
    useless = [
        "a=candidate:1 1 udp 1 b88c77c1-8a72-4b6b-beac-2145c37b60bf.local 36926 typ host",
        "a=candidate:2 1 udp 1 0.0.0.0 9 typ host",
        "a=candidate:3 1 udp 1 ff02::1 9 typ host",
    ]
    assert offer(_with(*useless, "a=" + CANDIDATE)) == _with("a=" + CANDIDATE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "must be a string"),
        (7, "must be a string"),
        ("", "not of the form"),
        (" " + OFFER, "not of the form"),
        ("\ufeff" + OFFER, "printable ASCII"),
        (_with("a=mid\x00"), "printable ASCII"),
        (_with("a=x:y\ra=crypto:z"), "printable ASCII"),
        (_with("a=x:\u2028"), "printable ASCII"),
        (_with("a=Candidate:1 1 udp 1 evil.example 9 typ host"), "not of the form"),
        (_with("a= candidate:1 1 udp 1 evil.example 9 typ host"), "not of the form"),
        (_with("a=candidate:1 1 udp 1 evil.example 9 typ host"), "IP address"),
        (_with("a=candidate"), "without a value"),
        (_with("a=candidate:" + "1" * MAX_CANDIDATE), "longer than"),
        (_with("c=IN IP4 evil.example"), "c= must hold"),
        (_replaced("c=IN IP4 0.0.0.0", "c=IN IP4 evil.example"), "c= must hold"),
        (_with("a=fingerprint"), "without a value"),
        (_with("a=mid:"), "not of the form"),
        (_with("a=extmap:-1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"), "a=extmap"),
        (_with("a=extmap:x urn:ietf:params:rtp-hdrext:ssrc-audio-level"), "a=extmap"),
        (_with(*["a=rtcp-mux"] * MAX_LINES), "lines; at most"),
        (_with("a=x:" + "y" * MAX_SDP), "longer than"),
        (_with("m=video 9 UDP/TLS/RTP/SAVPF 96"), "2 media lines"),
        (_with("m=application 9 UDP/DTLS/SCTP webrtc-datachannel"), "2 media lines"),
        (_replaced("m=audio", "m=video"), "m=audio"),
        (_replaced("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"), "m=audio"),
        (_replaced("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "m=audio"),
        (_replaced("m=audio 9 ", "m=audio 0 "), "port"),
        (_replaced("m=audio 9 ", "m=audio 65536 "), "port"),
        (_replaced("m=audio 9 ", "m=audio ٩ "), "printable ASCII"),
        (_replaced("opus/48000/2", "pcmu/8000"), "opus"),
        (_replaced("rtpmap:111", "rtpmap:112"), "opus"),
        (_with("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc"), "no keys"),
        (_with("k=clear:abc"), "no keys"),
        (_with("a=mid:1"), "twice: a=mid"),
        (_with("a=ice-ufrag:abcd"), "twice: a=ice-ufrag"),
        (_with(*["a=fingerprint:sha-256 " + ":".join(["3A"] * 32)] * 4), "twice: a=fingerprint"),
        (_replaced("a=ice-pwd:/Crv7lmUk16G2TqMc3OUCMeP\r\n", ""), "no a=ice-pwd"),
        (_replaced("a=setup:actpass", "a=setup:holdconn"), "a=setup is malformed"),
        (_with(*["a=ssrc:1 cname:x"] * (MAX_SOURCES + 1)), "a=ssrc"),
        (_with(*["a=" + CANDIDATE] * (MAX_CANDIDATES + 1)), "candidates"),
        (_text(*LINES[1:]), "begin with v=0"),
        (_with("v=0"), "2 lines v="),
        (_replaced("t=0 0\r\n", ""), "0 lines t="),
    ],
)
def test_a_bad_offer_is_refused_in_words(text: object, words: str) -> None:
    with pytest.raises(SdpError, match=re.escape(words)):
        offer(text)


@given(
    st.sampled_from([LINES, AIORTC, FIREFOX]),
    st.data(),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=3),
)
@settings(max_examples=400, deadline=None)
def test_whatever_passes_is_an_offer_that_passes(
    lines: list[str], data: Any, more: list[str]
) -> None:
    """Lines lost, doubled, swapped, cut and made up: SdpError, or an offer by our own rules."""
    order = data.draw(st.permutations(range(len(lines))) | st.just(range(len(lines))))
    kept = [lines[n] for n in order if data.draw(st.integers(0, 9)) or n == 0]
    at = data.draw(st.integers(0, len(kept)))
    try:
        found = offer("\r\n".join([*kept[:at], *more, *kept[at:]]))
    except SdpError:
        return
    assert found.isascii()
    assert found == offer(found)
    assert len(re.findall(r"(?m)^m=", found)) == 1
    assert "\r\n".join(found.splitlines()) + "\r\n" == found
    assert not re.search(r"(?i)^a=crypto|^a=candidate:.*\.(example|local)", found, re.MULTILINE)


# --- candidates ---------------------------------------------------------------------------


def test_a_candidate_is_built_anew_from_what_is_known() -> None:
    given_ = {
        "candidate": "a=" + CANDIDATE,
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "usernameFragment": "YC0J",
    }
    evil = {"janus": "destroy", "request": "kick", "completed": True, "handle_id": 1}
    assert candidate(given_ | evil) == given_ | {"candidate": CANDIDATE}
    bare = {"candidate": CANDIDATE, "sdpMid": None, "usernameFragment": None}
    assert candidate(bare) == {"candidate": CANDIDATE, "sdpMLineIndex": 0}


@pytest.mark.parametrize(
    "text",
    [
        "candidate:1 1 udp 1 192.0.2.7 1 typ host",
        "candidate:1 1 UDP 1 192.0.2.7 1 typ host",
        "candidate:1 1 tcp 1 10.0.0.7 9 typ host tcptype active",
        "candidate:1 1 udp 1 203.0.113.7 1 typ srflx raddr 0.0.0.0 rport 0 generation 0 ufrag aB+/",
        "candidate:1 2 udp 1 2001:db8::1 1 typ relay raddr 127.0.0.1 rport 0",
    ],
)
def test_candidates_of_all_types_pass(text: str) -> None:
    found = candidate({"candidate": text})
    assert found is not None
    assert found["candidate"] == text
    assert leads_somewhere(found)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("candidate:1 1 udp 1 192.0.2.7 1 typ host", "object"),
        ([], "object"),
        ({"sdpMid": "0"}, "object"),
        ({"candidate": None}, "object"),
        ({"candidate": "candidate:" + "1" * MAX_CANDIDATE}, "longer than"),
        ({"candidate": CANDIDATE + "\r\na=crypto:x"}, "malformed"),
        ({"candidate": CANDIDATE + "\n"}, "malformed"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.7 1 typ ho\u017ft"}, "malformed"),
        ({"candidate": "candidate:1 3 udp 1 192.0.2.7 1 typ host"}, "malformed"),
        ({"candidate": "candidate:1 1 udp 1 evil.example 1 typ host"}, "IP address"),
        ({"candidate": "candidate:1 1 udp 1 1.1 1 typ host"}, "IP address"),
        ({"candidate": "candidate:1 1 udp 1 fe80::1%eth0 1 typ host"}, "IP address"),
        ({"candidate": CANDIDATE + " raddr evil.example rport 1"}, "malformed"),
        ({"candidate": CANDIDATE[:-13] + " raddr evil.example rport 999999"}, "malformed"),
        ({"candidate": CANDIDATE[:-13] + " raddr evil.example rport 1"}, "IP address"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.7 65536 typ host"}, "port"),
        ({"candidate": CANDIDATE, "sdpMid": "0\r\n"}, "sdpMid"),
        ({"candidate": CANDIDATE, "sdpMid": 0}, "sdpMid"),
        ({"candidate": CANDIDATE, "sdpMLineIndex": 1}, "sdpMLineIndex"),
        ({"candidate": CANDIDATE, "sdpMLineIndex": False}, "sdpMLineIndex"),
        ({"candidate": CANDIDATE, "usernameFragment": "a b"}, "usernameFragment"),
    ],
)
def test_a_bad_candidate_is_refused_in_words(value: object, words: str) -> None:
    with pytest.raises(SdpError, match=words):
        candidate(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    | st.fixed_dictionaries(
        {"candidate": st.text() | st.just(CANDIDATE)},
        optional={
            "sdpMid": st.text(max_size=3) | st.none(),
            "sdpMLineIndex": st.integers(-1, 1) | st.none() | st.text(),
            "usernameFragment": st.text(max_size=3),
            "janus": st.text(),
        },
    )
)
@settings(max_examples=200, deadline=None)
def test_any_value_is_a_candidate_of_known_fields_or_refused(value: object) -> None:
    try:
        found = candidate(value)
    except SdpError:
        return
    if found is not None:
        assert found.keys() <= {"candidate", "sdpMid", "sdpMLineIndex", "usernameFragment"}
        assert found["sdpMLineIndex"] == 0
        assert candidate(found) == found


def test_hostile_text_costs_linear_time() -> None:
    """A regular expression that backtracks would take hours."""
    for unit in ("a=candidate:1 1 udp 1 1.1.1.1 1 typ host" + " x" * 60, "a=x:" + " y" * 100):
        with pytest.raises(SdpError):
            offer(_with(*[unit] * 60, "a=crypto:x"))
