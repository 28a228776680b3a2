"""Values in etcd that are not what their keys promise: only the room they belong to suffers."""

import json
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest

from pkg import keys
from pkg.etcd.api import KV, Delete, Etcd, Put
from pkg.model import (
    Desired,
    Ended,
    Endpoints,
    Epoch,
    Heartbeat,
    JanusState,
    JanusStatus,
    Kind,
    LiveMeta,
    MixerState,
    MixerStatus,
    ModuleId,
    RoomId,
)
from tests.support.room_manager import Daemon

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]

POISON: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\x00\xff{",
    "not UTF-8": b'{"roomId":"\xff\xfe"}',
    "array": b"[]",
    "null": b"null",
    "number": b"1",
    "wrong types": b'{"roomId":1,"createdAt":[],"status":7,"mark":{},"epoch":"x"}',
    "unknown status": b'{"roomId":"x","status":"dancing","mark":"dancing"}',
    "NaN": b'{"roomId":"x","epoch":NaN,"capacity":Infinity}',
    "deep": b'{"a":' * 5000,
    "1.4 MB": b'"' + b"x" * 1_400_000 + b'"',
}
FOREIGN_KEYS = (
    *("/rooms/", "/rooms//", "/rooms/x", "/rooms/-x/meta", "/rooms/\udcff\udcfe/meta"),
    *("/rooms/x/y/z", "/rooms/../meta", "/rooms/" + "x" * 5000 + "/meta", "/rooms/\0/meta"),
    *("/modules/", "/modules/janus", "/modules/drums/d1/heartbeat", "/modules/janus/\udcff/mark"),
    *("/modules/mixer/m9/slots/", "/modules/mixer/m9/slots/-1", "/modules/mixer/m9/slots/x"),
    *("/modules/mixer/m9/slots/" + "9" * 5000, "/modules/mixer/m9/slots/٣"),
    *("/onair/ended/", "/onair/ended/x", "/onair/ended/x/y/z", "/onair/\udcff", "/\udcff"),
)


def heartbeat() -> bytes:
    ends = Endpoints(origin="http://127.0.0.1:9")
    return Heartbeat(
        status="healthy",
        host="h",
        started_at="t",
        capacity=50,
        endpoints=ends,
        instance_id="i",
        pid=1,
    ).encode()


class Site:
    """A running room manager with two modules that are healthy and do nothing."""

    def __init__(self, daemon: Daemon, etcd: Etcd, client: httpx.AsyncClient) -> None:
        self.daemon, self.etcd, self.client = daemon, etcd, client

    async def put(self, key: str, value: bytes) -> None:
        await self.etcd.txn([], [Put(key, value)])

    async def get(self, key: str) -> KV | None:
        return await self.etcd.get(key)

    async def fine(self, room_id: str) -> None:
        """A healthy room can be made, listed, started, stopped and explained meanwhile."""
        made = await self.client.post("/api/rooms", json={"roomId": room_id})
        assert made.status_code == 201, made.text
        started = await self.client.post(f"/api/rooms/{room_id}/start")
        assert started.status_code == 200, started.text
        listed = await self.client.get("/api/rooms?limit=200")
        assert room_id in {room["roomId"] for room in listed.raise_for_status().json()["rooms"]}
        for path in (f"/api/rooms/{room_id}/explain", "/api/modules", "/readyz"):
            assert (await self.client.get(path)).status_code == 200, path
        assert self.daemon.alive()
        assert "Traceback" not in self.daemon.said

    async def problem(self, method: str, path: str) -> str:
        """A clear problem that shows nothing of the value; its code."""
        with anyio.fail_after(30):
            answer = await self.client.request(method, path)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert "xxxx" not in answer.text
        return str(answer.json()["code"])


async def on(daemon: Daemon, body: Callable[[Site], Awaitable[None]]) -> None:
    keyed = {"Authorization": f"Bearer {daemon.api_key}"}
    async with (
        daemon.etcd() as etcd,
        httpx.AsyncClient(base_url=daemon.url, headers=keyed, timeout=30) as client,
    ):
        site = Site(daemon, etcd, client)
        for kind, module_id in ((Kind.JANUS, "j1"), (Kind.MIXER, "m1")):
            await site.put(keys.heartbeat(kind, ModuleId(module_id)), heartbeat())
        await body(site)


def livemeta(room_id: str) -> dict[str, object]:
    epoch = Epoch(1)
    live = LiveMeta(
        room_id=RoomId(room_id),
        status=Desired.ONAIR,
        janus_id=ModuleId("j1"),
        janus_epoch=epoch,
        janus_slot=40,
        mixer_id=ModuleId("m1"),
        mixer_epoch=epoch,
        mixer_slot=40,
        epoch=epoch,
        nonce="0" * 32,
        started_at="t",
    )
    found: dict[str, object] = json.loads(live.encode())
    return found


META = b'{"roomId":"%s","createdAt":"t"}'


async def test_a_poisoned_wish_fails_its_room_only(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        for leaf in ("meta", "livemeta"):
            for n, (what, value) in enumerate(POISON.items()):
                room = f"bad-{leaf}{n}"
                await site.put(f"/rooms/{room}/meta", META % room.encode())
                await site.put(f"/rooms/{room}/{leaf}", value)
                for method, path in (("GET", ""), ("POST", "/start"), ("GET", "/explain")):
                    code = await site.problem(method, f"/api/rooms/{room}{path}")
                    assert code == "room-undecodable", (leaf, what, path)
                for path in (f"/hls/{room}/live.m3u8", f"/api/rooms/{room}/key?nonce=x"):
                    assert await site.problem("GET", path) == "room-undecodable", (leaf, what)
            await site.fine(f"good-{leaf}")

    await on(daemon, body)


async def test_of_a_poisoned_report_nothing_is_known(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        for leaf in ("janus", "mixer"):
            for n, (what, value) in enumerate(POISON.items()):
                room = f"odd-{leaf}{n}"
                await site.put(f"/rooms/{room}/meta", META % room.encode())
                await site.put(f"/rooms/{room}/livemeta", json.dumps(livemeta(room)).encode())
                await site.put(f"/rooms/{room}/{leaf}", value)
                for method, path in (("GET", ""), ("POST", "/start"), ("GET", "/explain")):
                    answer = await site.client.request(method, f"/api/rooms/{room}{path}")
                    assert answer.json()["status"] == "starting", (leaf, what, path)
                    assert "xxxx" not in answer.text
                assert "reported cannot be read" in answer.json()["reason"]
                code = await site.problem("GET", f"/hls/{room}/live.m3u8")
                assert code == "not-yet-onair", (leaf, what)
            await site.fine(f"good-{leaf}")

    await on(daemon, body)


async def test_poisoned_modules_marks_slots_and_after_lives(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        for n, value in enumerate(POISON.values()):
            await site.put(f"/modules/janus/bad{n}/heartbeat", value)
            await site.put(f"/modules/mixer/bad{n}/mark", value)
            await site.put(f"/modules/mixer/m1/slots/{n}", value)
            await site.put(f"/modules/janus/ghost{n}/slots/{n}", value)
            await site.put(f"/onair/ended/m1/over{n}", value)
            await site.put(f"/rooms/over{n}/meta", b'{"roomId":"x","createdAt":"t"}')
        await site.fine("good")
        assert await site.problem("GET", "/hls/over1/live.m3u8") == "room-undecodable"
        slots = {kv.key: kv.value for kv in (await site.etcd.range("/modules/mixer/m1/slots/")).kvs}
        for n, value in enumerate(POISON.values()):
            assert slots.pop(f"/modules/mixer/m1/slots/{n}") == value, "unreadable is taken"
        assert [json.loads(value)["roomId"] for value in slots.values()] == ["good"]

    await on(daemon, body)


async def test_keys_nobody_of_us_wrote(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        for key in FOREIGN_KEYS:
            await site.put(key, b'{"roomId":"x","createdAt":"t"}')
        await site.fine("good")
        for key in FOREIGN_KEYS:
            await site.etcd.txn([], [Delete(key)])
        await site.fine("better")

    await on(daemon, body)


async def test_addresses_that_are_none_are_no_crash(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        origins = (
            "",
            "nonsense",
            "http://[::",
            "http://\x00",
            "file:///etc/passwd",
            "//",
            "http://:",
        )
        for n, origin in enumerate((*origins, "http://127.0.0.1:1", "http://x" + "y" * 300)):
            room = RoomId(f"odd{n}")
            ends, epoch = Endpoints(origin=origin), Epoch(1)
            await site.put(f"/rooms/{room}/meta", b'{"roomId":"x","createdAt":"t"}')
            await site.put(f"/rooms/{room}/livemeta", json.dumps(livemeta(room)).encode())
            janus = JanusState(
                janus_id=ModuleId("j1"),
                janus_room_id=1,
                status=JanusStatus.FORWARDING,
                epoch=epoch,
                endpoints=ends,
                mixer_epoch=epoch,
            )
            await site.put(f"/rooms/{room}/janus", janus.encode())
            mixer = MixerState(
                mixer_id=ModuleId("m1"),
                ip="x",
                port=1,
                status=MixerStatus.STARTING,  # never on air: nobody is held for it
                epoch=epoch,
                endpoints=ends,
            )
            await site.put(f"/rooms/{room}/mixer", mixer.encode())
            over = RoomId(f"over{n}")
            ended = Ended(
                room_id=over, mixer_id=ModuleId("m1"), epoch=epoch, nonce="0" * 32, origin=origin
            )
            await site.put(f"/rooms/{over}/meta", b'{"roomId":"x","createdAt":"t"}')
            await site.put(keys.ended(ModuleId("m1"), over), ended.encode())
            for path in ("live.m3u8", "s_1_1.ts"):
                assert await site.problem("GET", f"/hls/{room}/{path}") == "not-yet-onair", origin
                code = await site.problem("GET", f"/hls/{over}/{path}")
                assert code in {"not-on-air", "not-yet-onair"}, origin
        await site.fine("good")

    await on(daemon, body)


async def test_a_stored_pin_that_is_no_hash_opens_nothing(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        for n, stored in enumerate(("", "x", "$$", "scrypt$zz$zz", "scrypt$$", "1234", "$" * 50)):
            meta = {"roomId": f"p{n}", "createdAt": "t", "pinHash": stored}
            await site.put(f"/rooms/p{n}/meta", json.dumps(meta).encode())
            for pin in (stored or "none", "1234"):
                answer = await site.client.post(f"/api/rooms/p{n}/listen", json={"pin": pin})
                assert answer.json()["code"] == "room-undecodable", answer.text
                assert "token" not in answer.json()
        await site.fine("good")

    await on(daemon, body)


async def test_unknown_fields_survive_a_rewrite(daemon: Daemon) -> None:
    async def body(site: Site) -> None:
        new = {"zone": {"a": [1, {"b": "c"}]}, "weight": 2.5}
        meta = {"roomId": "new", "createdAt": "t", "metadata": {"x": None}, **new}
        await site.put("/rooms/new/meta", json.dumps(meta).encode())
        await site.put("/rooms/new/livemeta", json.dumps({**livemeta("new"), **new}).encode())
        assert (await site.client.post("/api/rooms/new/stop")).status_code == 200

        async def stopped() -> None:
            while await site.get("/rooms/new/livemeta") is not None:
                await anyio.sleep(0.05)

        with anyio.fail_after(30):
            await stopped()
        kept = await site.get("/rooms/new/meta")
        assert kept is not None
        stored = json.loads(kept.value)
        assert {name: stored[name] for name in new} == new
        assert stored["metadata"] == {"x": None}

    await on(daemon, body)
