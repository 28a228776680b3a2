"""A room with a PIN (I11): nothing is heard without a token of its own, and with one it plays."""

import time

import httpx
import pytest

from pkg.model import RoomId
from pkg.secrets import token_key
from pkg.tokens import Role, Tokens
from tests.support.listener import Listener, Playlist
from tests.support.stack import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

PIN = "4321"


async def listen(stack: Stack, room: str, pin: str | None) -> httpx.Response:
    body = {} if pin is None else {"pin": pin}
    return await stack.public.post(f"/api/rooms/{room}/listen", json=body)


def expired(stack: Stack, room: str) -> str:
    """Signed by the very key, and over since an hour."""
    then = int(time.time()) - 7200  # noqa: TID251 - tokens tell the time of day
    tokens = Tokens([token_key(stack.site.master)])
    return tokens.issue(RoomId(room), "l", Role.LISTENER, now=then, ttl=3600)


def with_token(url: str, token: str | None) -> str:
    """The address with this token instead of the one it has."""
    return str(
        httpx.URL(url)
        .copy_remove_param("token")
        .copy_merge_params({} if token is None else {"token": token})
    )


async def refusals(stack: Stack, playlist: Playlist, room_url: str, token: str | None) -> list[int]:
    """What playlist, segment and key answer to this token."""
    segment = playlist.segments[-1]
    urls = (room_url, segment.url, segment.key_url)
    answers = [await stack.public.get(with_token(url, token)) for url in urls]
    assert all(a.headers["content-type"] == "application/problem+json" for a in answers)
    return [answer.status_code for answer in answers]


async def test_only_the_rooms_own_token_opens_it(stack: Stack) -> None:
    await stack.create("blue", pin=PIN)
    await stack.create("red", pin=PIN)
    await stack.start("blue")
    granted = await listen(stack, "blue", PIN)
    assert granted.status_code == 201
    assert set(granted.json()) == {"token", "expiresAt", "hlsUrl"}
    token, url = granted.json()["token"], granted.json()["hlsUrl"]

    listener = Listener(stack.public, f"{url}?token={token}")
    playlist = await listener.playing()
    async with await stack.bot("blue", 440) as host:
        await host.connected()
        sound = await listener.tone(440)
    assert sound.peak[1] > -30

    assert playlist.headers["cache-control"] == "private, no-store"
    assert all(s.url.endswith(f"?token={token}") for s in playlist.segments)
    assert all(s.key_url.endswith(f"&token={token}") for s in playlist.segments)
    key = await stack.public.get(playlist.segments[0].key_url)
    assert "no-store" in key.headers["cache-control"]
    segment = await stack.public.get(playlist.segments[-1].url)
    assert segment.headers["cache-control"] == "private, no-store"

    other = (await listen(stack, "red", PIN)).json()["token"]
    for bad in (None, "", "x", token + "x", other, expired(stack, "blue")):
        latest = await listener.playlist()
        assert await refusals(stack, latest, url, bad) == [401, 401, 401], bad
    by_api = await stack.call(
        "POST", "/rooms/blue/tokens", 201, json={"userId": "anna", "role": "listener"}
    )
    assert (await stack.public.get(f"{url}?token={by_api['token']}")).status_code == 200


async def test_a_wrong_nonce_gets_no_key_and_an_open_room_needs_no_token(stack: Stack) -> None:
    url = (await stack.create("blue"))["hlsUrl"]
    assert (await stack.public.get(url)).status_code == 404
    await stack.call("POST", "/rooms/blue/start")
    early = await stack.public.get(url)
    assert early.status_code == 503
    assert int(early.headers["retry-after"]) >= 1
    listener = Listener(stack.public, url)
    playlist = await listener.playing()
    assert "no-store" not in playlist.headers["cache-control"]
    assert (await listener.hear(playlist.segments[-1])).rate == 48_000
    key_url = playlist.segments[-1].key_url
    key = await stack.public.get(key_url)
    assert (key.status_code, len(key.content)) == (200, 16)
    assert "no-store" in key.headers["cache-control"]
    for nonce in ("", "0" * 32, "x"):
        wrong = httpx.URL(key_url).copy_set_param("nonce", nonce)
        assert (await stack.public.get(wrong)).status_code == 404
    assert (await listen(stack, "blue", None)).status_code == 201
    assert (await listen(stack, "none", None)).status_code == 404


async def test_five_wrong_pins_a_minute_and_no_more(stack: Stack) -> None:
    await stack.create("blue", pin=PIN)
    wrong = [await listen(stack, "blue", pin) for pin in ("0000", "", None, "43210", "1234")]
    assert [(a.status_code, a.json()["code"]) for a in wrong] == [(403, "wrong-pin")] * 5
    for pin in ("0000", PIN):
        sixth = await listen(stack, "blue", pin)
        assert (sixth.status_code, sixth.json()["code"]) == (429, "too-many-tries")
        assert 0 < int(sixth.headers["retry-after"]) <= 61
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(transport=transport, base_url=stack.site.api_url()) as elsewhere:
        granted = await elsewhere.post("/api/rooms/blue/listen", json={"pin": PIN})
    assert granted.status_code == 201, "nobody is locked out by somebody else's tries"
