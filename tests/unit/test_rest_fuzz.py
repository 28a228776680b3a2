"""Random bodies, paths and queries on the whole HTTP side in memory: no 5xx, no bug, ever."""

import json
import string

import anyio
import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.inprocess import running

MEMBERS = {"type", "title", "status", "detail", "code"}
NAMES = (
    *("roomId", "pin", "metadata", "userId", "role", "ttlSeconds", "mark", "deadlineSeconds"),
    *("grants", "tokenId", "maxParticipants"),
)
odd = st.sampled_from(["", "..", "a", "a" * 65, "a\n", "host", "draining", "٣", "\0", "1234"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | odd
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), values, max_size=4)
bodies = (objects | values).map(lambda v: json.dumps(v).encode()) | st.binary(max_size=60)
segments = st.text(string.printable + "é٣\u202e\0", max_size=12) | odd
paths = st.lists(
    segments
    | st.sampled_from(["api", "rooms", "hls", "key", "start", "stop", "listen", "mark", "assets"]),
    max_size=5,
)
routes = st.sampled_from(
    [
        ("POST", ["api", "rooms"]),
        ("POST", ["api", "rooms", "a", "tokens"]),
        ("POST", ["api", "rooms", "a", "revocations"]),
        ("POST", ["api", "rooms", "a", "participants", "u", "kick"]),
        ("POST", ["api", "rooms", "a", "participants", "u", "mute"]),
        ("POST", ["api", "rooms", "a", "listen"]),
        ("PUT", ["api", "modules", "janus", "j", "mark"]),
        ("DELETE", ["api", "rooms", "a"]),
    ]
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
requests = routes | st.tuples(methods, paths)
queries = st.dictionaries(
    st.sampled_from(["limit", "cursor", "status", "wait", "nonce", "token"]), segments, max_size=2
)
kinds = st.sampled_from(["application/json", "text/plain", ""])


async def send(
    sent: list[tuple[tuple[str, list[str]], dict[str, str], bytes, str]],
) -> list[tuple[str, httpx.Response]]:
    async with running() as stage:
        await stage.client.post("/api/rooms", json={"roomId": "a", "pin": "4711"})
        found = []
        for (method, path), query, body, kind in sent:
            # Waiting costs nothing in memory, but time; a room never comes on air here.
            query = {k: v for k, v in query.items() if k != "wait"}
            url = httpx.URL("http://onair", raw_path=raw(path, query))
            answer = await stage.client.request(
                method, url, content=body, headers={"Content-Type": kind}
            )
            found.append((f"{method} {url}", answer))
        listed = await stage.client.get("/api/rooms")
        return [*found, ("the list afterwards", listed)]


def raw(path: list[str], query: dict[str, str]) -> bytes:
    from urllib.parse import quote, urlencode

    text = "/" + "/".join(quote(segment, safe="") for segment in path)
    return (text + ("?" + urlencode(query) if query else "")).encode()


@given(st.lists(st.tuples(requests, queries, bodies, kinds), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_whatever_is_sent_the_answer_is_a_problem_or_what_was_asked(
    sent: list[tuple[tuple[str, list[str]], dict[str, str], bytes, str]],
) -> None:
    for what, answer in anyio.run(send, sent):
        assert answer.status_code < 500 or answer.json()["code"] == "no-capacity", what
        assert answer.status_code < 300 or answer.status_code >= 400, what
        page = answer.status_code == 404 and "text/html" in answer.headers["content-type"]
        if answer.status_code >= 400 and not what.startswith("HEAD") and not page:
            assert answer.headers["content-type"] == "application/problem+json", what
            assert answer.json().keys() >= MEMBERS
            assert answer.json()["status"] == answer.status_code
