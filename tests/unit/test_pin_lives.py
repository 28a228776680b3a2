"""A room's id is used again, now with a PIN: what the life before gave away opens nothing (I11)."""

import httpx
import pytest

from pkg import keys
from pkg.etcd.api import DeletePrefix, Put
from pkg.model import Desired, Epoch, Kind, LiveMeta
from tests.support.inprocess import InProcess, running
from tests.support.virtual import BLUE, J1, M1, observed

pytestmark = pytest.mark.anyio
NONCES = ("1" * 32, "2" * 32)
PLAYLIST = "/hls/blue/live.m3u8"


def origin(request: httpx.Request) -> httpx.Response:
    epoch = request.url.path.split("/")[2]
    return httpx.Response(200, text=f"#EXTM3U\n#EXTINF:2.0,\ns_{epoch}_1.ts\n")


async def on_air(site: InProcess, epoch: int, nonce: str) -> None:
    live = LiveMeta(
        room_id=BLUE,
        status=Desired.ONAIR,
        janus_id=J1,
        janus_epoch=Epoch(epoch),
        janus_slot=0,
        mixer_id=M1,
        mixer_epoch=Epoch(epoch),
        mixer_slot=0,
        epoch=Epoch(epoch),
        nonce=nonce,
        started_at="",
    )
    state = Put(keys.room(BLUE, "mixer"), observed(Kind.MIXER, live).encode())
    await site.etcd.txn([], [Put(keys.room(BLUE, "livemeta"), live.encode()), state])
    await site.context.view.informer.reached("/", site.etcd.store.revision)


async def create(site: InProcess, pin: str | None) -> None:
    wish = {"roomId": BLUE} if pin is None else {"roomId": BLUE, "pin": pin}
    assert (await site.client.post("/api/rooms", json=wish)).status_code == 201


async def listen(site: InProcess, pin: str | None) -> str:
    answer = await site.public.post("/api/rooms/blue/listen", json={"pin": pin} if pin else {})
    assert answer.status_code == 201
    return str(answer.json()["token"])


async def hear(site: InProcess, token: str) -> int:
    return (await site.public.get(PLAYLIST, params={"token": token})).status_code


@pytest.mark.parametrize("before", [None, "1111"])
async def test_a_listeners_token_ends_with_the_pin_it_was_given_for(before: str | None) -> None:
    async with running(httpx.MockTransport(origin)) as site:
        await create(site, before)
        old = await listen(site, before)
        await on_air(site, 5, NONCES[0])
        assert await hear(site, old) == 200
        await wipe(site)
        await create(site, "2222")
        await on_air(site, 50, NONCES[1])
        assert await hear(site, old) == 401
        assert await hear(site, await listen(site, "2222")) == 200


async def wipe(site: InProcess) -> None:
    await site.etcd.txn([], [DeletePrefix(keys.room_prefix(BLUE))])


async def test_a_token_from_the_operator_opens_every_pin() -> None:
    async with running(httpx.MockTransport(origin)) as site:
        await create(site, "2222")
        await on_air(site, 50, NONCES[1])
        wish = {"userId": "u", "role": "listener"}
        made = await site.client.post("/api/rooms/blue/tokens", json=wish)
        assert await hear(site, made.json()["token"]) == 200


async def test_the_key_of_a_life_that_the_copy_does_not_show_yet_asks_for_its_pin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as site:
        await create(site, None)
        await on_air(site, 5, NONCES[0])
        stale = site.context.view.room(BLUE)
        await wipe(site)
        await create(site, "2222")
        await on_air(site, 50, NONCES[1])
        monkeypatch.setattr(site.context.view, "room", lambda _: stale)
        ask = {"nonce": NONCES[1]}
        assert (await site.public.get("/api/rooms/blue/key", params=ask)).status_code == 401
        ask["token"] = await listen(site, "2222")
        assert (await site.public.get("/api/rooms/blue/key", params=ask)).status_code == 200
