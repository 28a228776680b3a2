"""What answers look like: absent fields are absent, metadata is as it was sent, CORS is simple."""

from typing import Any

import httpx
import pytest

from pkg.etcd.api import Put
from pkg.model import (
    Endpoints,
    Epoch,
    Heartbeat,
    JanusState,
    JanusStatus,
    MixerState,
    MixerStatus,
    ModuleId,
)
from tests.support.inprocess import InProcess, running

pytestmark = pytest.mark.anyio
ORIGIN = {"Origin": "https://player.example"}
PLAYLIST = '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:2.0,\ns_{epoch}_1.ts\n'


def origin(request: httpx.Request) -> httpx.Response:
    _, _, epoch, name = request.url.path.split("/")
    text = PLAYLIST.replace("{epoch}", epoch) if name == "live.m3u8" else "segment"
    return httpx.Response(200, text=text)


async def modules(stage: InProcess) -> None:
    for kind in ("janus", "mixer"):
        beat = Heartbeat(
            status="healthy",
            host="h",
            started_at="t",
            capacity=3,
            endpoints=Endpoints(origin="http://mixer"),
            instance_id="i",
            pid=1,
        )
        await stage.etcd.txn([], [Put(f"/modules/{kind}/{kind[0]}1/heartbeat", beat.encode())])


async def on_air(stage: InProcess, pin: str | None = None) -> dict[str, Any]:
    """Room ``blue``, with both modules played by hand."""
    await modules(stage)
    await stage.client.post("/api/rooms", json={"roomId": "blue", **({"pin": pin} if pin else {})})
    room: dict[str, Any] = (
        (await stage.client.post("/api/rooms/blue/start")).raise_for_status().json()
    )
    epoch, ends = Epoch(room["epoch"]), Endpoints(origin="http://mixer")
    janus = JanusState(
        janus_id=ModuleId("j1"),
        janus_room_id=123456,
        status=JanusStatus.FORWARDING,
        epoch=epoch,
        endpoints=ends,
        mixer_epoch=epoch,
    )
    mixer = MixerState(
        mixer_id=ModuleId("m1"),
        ip="127.0.0.1",
        port=5004,
        status=MixerStatus.PUBLISHING,
        epoch=epoch,
        endpoints=ends,
    )
    ops = [Put("/rooms/blue/janus", janus.encode()), Put("/rooms/blue/mixer", mixer.encode())]
    done = await stage.etcd.txn([], ops)
    await stage.context.view.informer.reached("/rooms/blue/janus", done.revision)
    return room


def nulls(value: Any, path: str = "") -> list[str]:
    match value:
        case None:
            return [path]
        case dict():
            return [p for k, v in value.items() for p in nulls(v, f"{path}.{k}")]
        case list():
            return [p for v in value for p in nulls(v, f"{path}[]")]
        case _:
            return []


async def test_what_is_not_there_is_absent_not_null() -> None:
    async with running() as stage:
        await modules(stage)
        made = await stage.client.post("/api/rooms", json={"roomId": "blue"})
        assert set(made.json()) == {
            *("roomId", "status", "hlsUrl", "createdAt", "epoch", "hasPin", "metadata"),
        }
        again = await stage.client.post("/api/rooms", json={"roomId": "blue"})
        assert again.json()["room"] == made.json()
        assert (await stage.client.get("/api/rooms")).json() == {"rooms": [made.json()]}
        for method, path in (
            ("GET", "/api/rooms/blue/explain"),
            ("GET", "/api/modules"),
            ("POST", "/api/rooms/blue/start"),
            ("POST", "/api/rooms/blue/start?wait=0.01"),
            ("GET", "/api/rooms/blue/explain"),
            ("PUT", "/api/modules/janus/j1/mark"),
            ("POST", "/api/rooms/blue/stop"),
            ("DELETE", "/api/rooms/blue"),
        ):
            body = {"mark": "draining"} if method == "PUT" else None
            answer = await stage.client.request(method, path, json=body)
            assert answer.status_code in {200, 202, 504}, answer.text
            assert nulls(answer.json()) == [], (method, path)


METADATA: tuple[dict[str, Any], ...] = (
    {},
    {"a": None},
    {"a": {"b": None, "c": [None, {"d": None}]}, "": "", "é\u0000": "\U0001f600"},
    {"n": 10**300, "f": 0.1, "neg": -0.5, "big": 2**63, "t": True, "empty": {}, "list": []},
    {"__proto__": {"x": 1}, "room_id": "x", "roomId": None},
)


@pytest.mark.parametrize("metadata", METADATA)
async def test_metadata_comes_back_as_it_was_sent(metadata: dict[str, Any]) -> None:
    async with running() as stage:
        body = {"roomId": "blue", "metadata": metadata}
        made = (await stage.client.post("/api/rooms", json=body)).json()
        assert made["metadata"] == metadata
        assert (await stage.client.get("/api/rooms/blue")).json()["metadata"] == metadata
        listed = (await stage.client.get("/api/rooms")).json()["rooms"]
        assert [room["metadata"] for room in listed] == [metadata]
        refused = (await stage.client.post("/api/rooms", json=body)).json()
        assert refused["room"]["metadata"] == metadata


async def test_players_on_other_origins_may_read_playlist_segment_and_key() -> None:
    async with running(httpx.MockTransport(origin)) as stage:
        room = await on_air(stage)
        playlist = await stage.public.get("/hls/blue/live.m3u8", headers=ORIGIN)
        assert playlist.status_code == 200, playlist.text
        key = playlist.text.split('URI="../..')[1].split('"')[0]
        for path in ("/hls/blue/live.m3u8", f"/hls/blue/s_{room['epoch']}_1.ts", key):
            for method in ("GET", "HEAD"):
                answer = await stage.public.request(method, path, headers=ORIGIN)
                assert answer.status_code == 200, path
                assert answer.headers["access-control-allow-origin"] == "*"
                assert "access-control-allow-credentials" not in answer.headers
            asked = {**ORIGIN, "Access-Control-Request-Method": "GET"}
            preflight = await stage.public.options(path, headers=asked)
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == "*"
        assert len((await stage.public.get(key)).content) == 16
        assert (await stage.public.get(key)).headers["cache-control"] == "private, no-store"


async def test_players_on_other_origins_may_read_why_not() -> None:
    async with running() as stage:
        await on_air(stage, pin="4711")
        for path, status in (
            ("/hls/blue/live.m3u8", 401),
            ("/hls/blue/s_1_1.ts", 401),
            ("/api/rooms/blue/key?nonce=x", 401),
            ("/hls/nobody/live.m3u8", 404),
            ("/hls/..%2f/live.m3u8", 422),
        ):
            answer = await stage.public.get(path, headers=ORIGIN)
            assert answer.status_code == status, path
            assert answer.headers["access-control-allow-origin"] == "*", path


async def test_no_other_origin_may_read_the_api() -> None:
    async with running() as stage:
        for path in ("/api/rooms", "/api/rooms/blue", "/api/modules", "/metrics", "/readyz"):
            answer = await stage.client.get(path, headers=ORIGIN)
            assert "access-control-allow-origin" not in answer.headers


async def test_only_the_present_nonce_of_this_very_room_gets_the_key() -> None:
    async with running(httpx.MockTransport(origin)) as stage:
        await on_air(stage)
        playlist = await stage.public.get("/hls/blue/live.m3u8")
        nonce = playlist.text.split("nonce=")[1].split('"')[0]
        await stage.client.post("/api/rooms", json={"roomId": "red"})
        assert (await stage.public.get(f"/api/rooms/blue/key?nonce={nonce}")).status_code == 200
        for room, wrong in (
            ("red", nonce),
            ("blue", "0" * 32),
            ("blue", nonce.upper() + "x"),
            ("blue", nonce + "%0A"),
            ("blue", ""),
            ("nobody", nonce),
        ):
            answer = await stage.public.get(f"/api/rooms/{room}/key?nonce={wrong}")
            assert answer.status_code == 404, (room, wrong)
            assert nonce not in answer.text
        shown = (await stage.client.get("/api/rooms/blue/explain")).text
        assert nonce not in shown
        head = await stage.public.head(f"/api/rooms/blue/key?nonce={nonce}")
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(("kind", "module_id"), [("janus", "j1"), ("mixer", "m1")])
async def test_a_deadline_is_shown_where_it_means_something(kind: str, module_id: str) -> None:
    """A mixer's rooms move at once: a deadline for them is taken, and promises nothing."""
    async with running() as stage:
        await modules(stage)
        wish = {"mark": "draining", "deadlineSeconds": 60}
        path = f"/api/modules/{kind}/{module_id}/mark"
        told = (await stage.client.put(path, json=wish)).raise_for_status().json()
        assert told["mark"] == "draining"
        assert ("deadlineAt" in told) is (kind == "janus")
        assert "no effect on a mixer" in (await stage.client.get("/openapi.json")).text
