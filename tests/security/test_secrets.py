"""Secrets stay where they belong: not in the log, argv, environment or any answer."""

from pathlib import Path

import httpx
import pytest

from pkg.secrets import hls_key, token_key
from tests.support.room_manager import Daemon

pytestmark = [pytest.mark.etcd, pytest.mark.anyio]
PIN = "Zq7!xyzzy"


async def test_a_whole_conversation_leaves_no_secret_behind(daemon: Daemon) -> None:
    keyed = {"Authorization": f"Bearer {daemon.api_key}"}
    answers: list[httpx.Response] = []
    async with (
        httpx.AsyncClient(base_url=daemon.url, headers=keyed) as client,
        httpx.AsyncClient(base_url=daemon.url) as public,
    ):
        body = {"roomId": "blue", "pin": PIN}
        answers.append(await client.post("/api/rooms", json=body))
        answers.append(await client.post("/api/rooms", json=body))
        granted = await public.post("/api/rooms/blue/listen", json={"pin": PIN})
        token = granted.json()["token"]
        for path in ("/hls/blue/live.m3u8", "/hls/blue/s_1_1.ts", "/api/rooms/blue/key"):
            answers.append(await public.get(f"{path}?token={token}&nonce={'0' * 32}"))
            answers.append(await public.get(f"{path}?token={token}x"))
        answers.append(await public.get("/api/rooms", params={"api_key": daemon.api_key}))
        answers.append(await client.post("/api/rooms/blue/start"))
        answers.append(await client.get("/api/rooms/blue/explain"))
        answers.append(await public.post("/api/rooms/blue/listen", json={"pin": PIN.lower()}))
    process = Path("/proc") / str(daemon.pid)
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    texts = {
        "log": daemon.said,
        "process": seen.decode(errors="replace"),
        "answers": "".join(a.text + str(a.headers) for a in answers),
    }
    master = daemon.master.encode()
    derived = (token_key(master), hls_key(master, "blue", "0" * 32))
    secrets = (daemon.api_key, daemon.master, PIN, PIN.lower(), token, token.split(".")[2])
    for where, text in texts.items():
        for secret in (*secrets, *(key.hex() for key in derived), *map(repr, derived)):
            assert secret not in text, (where, secret)
        assert "scrypt$" not in text


async def test_a_caller_cannot_claim_another_address(daemon: Daemon) -> None:
    """uvicorn would believe anybody on loopback, and five tries a minute would be none."""
    keyed = {"Authorization": f"Bearer {daemon.api_key}"}
    async with httpx.AsyncClient(base_url=daemon.url) as public:
        made = await public.post("/api/rooms", json={"roomId": "a", "pin": PIN}, headers=keyed)
        assert made.status_code == 201
        found = []
        for n in range(6):
            claimed = {"X-Forwarded-For": f"10.0.0.{n}"}
            url = "/api/rooms/a/listen"
            found.append(
                (await public.post(url, json={"pin": "none"}, headers=claimed)).status_code
            )
        assert found == [403] * 5 + [429]
