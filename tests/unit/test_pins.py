"""The way past a PIN, through REST in process: five tries, no oracle, nothing kept in clear."""

import base64
import json
from typing import Any

import anyio
import httpx
import pytest

from pkg.informer import UndecodableError
from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.tokens import Role, Tokens
from roommanager.pins import MAX_CALLERS, TRIES, Tries, caller, hash_pin, matches
from tests.support.inprocess import MASTER, InProcess, now, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Hashes are made in threads, for which virtual time does not wait."""
    return "asyncio"


PIN = "Zq7!xyzzy"


async def listen(stage: InProcess, body: dict[str, Any], room: str = "blue") -> httpx.Response:
    return await stage.public.post(f"/api/rooms/{room}/listen", json=body)


async def make(stage: InProcess, room: str = "blue", pin: str | None = PIN) -> None:
    body = {"roomId": room, **({"pin": pin} if pin else {})}
    assert (await stage.client.post("/api/rooms", json=body)).status_code == 201


async def test_the_pin_opens_and_is_shown_nowhere() -> None:
    async with running() as stage:
        await make(stage)
        opened = await listen(stage, {"pin": PIN})
        assert opened.status_code == 201
        assert set(opened.json()) == {"token", "expiresAt", "hlsUrl"}
        claims = opened.json()["token"].split(".")[1]
        payload = json.loads(base64.urlsafe_b64decode(claims + "=="))
        assert (payload["room"], payload["role"]) == ("blue", "listener")
        for path in ("/api/rooms", "/api/rooms/blue", "/api/rooms/blue/explain", "/metrics"):
            text = (await stage.client.get(path)).text
            assert PIN not in text
            assert "scrypt" not in text
        stored = await stage.etcd.get("/rooms/blue/meta")
        assert stored is not None
        assert PIN.encode() not in stored.value


@pytest.mark.parametrize(
    "body", [{}, {"pin": None}, {"pin": ""}, {"pin": PIN.lower()}, {"pin": "é"}]
)
async def test_every_wrong_pin_gets_the_same_answer(body: dict[str, Any]) -> None:
    async with running() as stage:
        await make(stage)
        refused = await listen(stage, body)
        assert refused.status_code == 403
        assert refused.json() == {
            "type": "urn:onair:problem:wrong-pin",
            "title": "Forbidden",
            "status": 403,
            "detail": "pin: this is not the room's PIN",
            "code": "wrong-pin",
        }


async def test_after_five_tries_even_the_right_pin_waits_a_minute() -> None:
    async with running() as stage:
        await make(stage)
        await make(stage, "red")
        for _ in range(TRIES):
            assert (await listen(stage, {"pin": "wrong"})).status_code == 403
        late = await listen(stage, {"pin": PIN})
        assert late.status_code == 429
        assert late.json()["code"] == "too-many-tries"
        assert 1 <= int(late.headers["retry-after"]) <= 61
        assert (await listen(stage, {"pin": PIN}, "red")).status_code == 201


async def test_the_right_pin_costs_no_try() -> None:
    async with running() as stage:
        await make(stage)
        for _ in range(TRIES * 2):
            assert (await listen(stage, {"pin": PIN})).status_code == 201


async def test_a_forwarded_address_is_not_believed() -> None:
    """In process there is no proxy; through uvicorn, tests/security asks the same."""
    async with running() as stage:
        await make(stage)
        answers = [
            await stage.public.post(
                "/api/rooms/blue/listen",
                json={"pin": "wrong"},
                headers={"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"},
            )
            for n in range(TRIES + 1)
        ]
        assert [a.status_code for a in answers] == [403] * TRIES + [429]


async def test_playlist_segment_and_key_ask_for_the_rooms_own_token() -> None:
    async with running() as stage:
        await make(stage)
        await make(stage, "red")
        red, blue = RoomId("red"), RoomId("blue")
        foreign = Tokens([token_key(b"x" * 32)]).issue(blue, "u", Role.LISTENER, now=now(), ttl=60)
        over = Tokens([token_key(MASTER)]).issue(blue, "u", Role.LISTENER, now=now() - 120, ttl=60)
        refused = {
            "none": "",
            "nonsense": "x",
            "another room's": Tokens([token_key(MASTER)]).issue(
                red, "u", Role.LISTENER, now=now(), ttl=60
            ),
            "another Onair's": foreign,
            "a host's": Tokens([token_key(MASTER)]).issue(blue, "u", Role.HOST, now=now(), ttl=60),
            "over": over,
        }
        seen = set()
        for what, token in refused.items():
            query = f"?token={token}" if token else ""
            for path in ("/hls/blue/live.m3u8", "/hls/blue/s_1_1.ts", "/api/rooms/blue/key"):
                for method in ("GET", "HEAD"):
                    answer = await stage.public.request(method, path + query)
                    assert answer.status_code == 401, (what, path)
                    assert answer.headers["cache-control"] == "no-store"
                    assert "www-authenticate" in answer.headers
                    seen |= {answer.text} if method == "GET" else set()
        assert len(seen) == 1, "all refusals read alike"


@pytest.mark.parametrize("stored", ["", "x", "$$", "scrypt$zz$zz", "scrypt$00$00", "1234"])
def test_what_is_no_hash_matches_nothing(stored: str) -> None:
    with pytest.raises(UndecodableError):
        matches(stored, stored)


def test_a_pin_is_hashed_with_its_own_salt() -> None:
    one, two = hash_pin("1234", b"a" * 16), hash_pin("1234", b"b" * 16)
    assert one != two
    assert "1234" not in one.split("$")[2]
    assert matches("1234", one)
    assert matches("1234", two)


def test_a_subscribers_ipv6_addresses_count_as_one() -> None:
    assert caller("a", "2001:db8::1") == caller("a", "2001:db8::ffff:ffff")
    assert caller("a", "2001:db8:0:1::1") != caller("a", "2001:db8::1")
    assert caller("a", "::ffff:10.0.0.1") != caller("a", "::ffff:10.0.0.2")
    assert caller("a", "10.0.0.1") != caller("b", "10.0.0.1")


def test_a_million_callers_take_bounded_memory() -> None:
    tries = Tries()
    for n in range(MAX_CALLERS + 100):
        tries.note(f"blue {n}", now=0.0)
    assert len(tries._seen) == MAX_CALLERS


async def test_guesses_made_at_once_are_counted_and_a_right_pin_is_not() -> None:
    async with running() as stage:
        await make(stage)
        answers: list[int] = []

        async def guess(pin: str) -> None:
            answer = await stage.public.post("/api/rooms/blue/listen", json={"pin": pin})
            answers.append(answer.status_code)

        for _ in range(2 * TRIES):
            await guess(PIN)
        assert answers == [201] * (2 * TRIES)
        answers.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(3 * TRIES):
                tasks.start_soon(guess, "wrong")
        assert sorted(answers) == [403] * TRIES + [429] * 2 * TRIES
