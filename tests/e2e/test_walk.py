"""A room's life by REST alone, and after each step the keys of contract.md §3 and no others.

``etcdctl`` is the witness: none of our code reads etcd here.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterable
from typing import Any

import anyio
import pytest

from pkg import keys
from tests.support.stack import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

ROOM_FIELDS = {
    *("roomId", "status", "hlsUrl", "createdAt", "startedAt", "epoch"),
    *("janus", "mixer", "hasPin", "metadata"),
}
RECORDS = {
    "meta": {"roomId", "createdAt"},
    "livemeta": {
        *("status", "janusId", "janusEpoch", "mixerId", "mixerEpoch", "epoch", "nonce"),
        "onAirAt",
    },
    "janus": {"janusId", "janusRoomId", "status", "epoch", "endpoints"},
    "mixer": {"mixerId", "ip", "port", "status", "epoch", "endpoints"},
    "heartbeat": {
        *("status", "host", "startedAt", "capacity", "endpoints", "instanceId", "pid"),
        "version",
    },
}


def etcdctl(stack: Stack) -> dict[str, Any]:
    """Every key of this Onair's etcd, its prefix cut off, with its JSON value."""
    query = ("get", "--prefix", stack.site.namespace)
    answer = subprocess.run(
        ["etcdctl", f"--endpoints={stack.site.etcd_url}", "-w", "json", *query],
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/usr/local/bin:/bin"},
        capture_output=True,
        check=True,
    )
    found = json.loads(answer.stdout).get("kvs", [])
    return {
        base64.b64decode(kv["key"]).decode().removeprefix(stack.site.namespace): json.loads(
            base64.b64decode(kv["value"])
        )
        for kv in found
    }


def heartbeats(stack: Stack) -> set[str]:
    site = stack.site
    return {
        f"/modules/janus/{site.janus_id}/heartbeat",
        f"/modules/mixer/{site.mixer_id}/heartbeat",
        keys.leader("housekeeping"),
    }


def on_air(stack: Stack, room: str) -> set[str]:
    site = stack.site
    leaves = {f"/rooms/{room}/{leaf}" for leaf in ("meta", "livemeta", "janus", "mixer")}
    slots = {f"/modules/janus/{site.janus_id}/slots/*", f"/modules/mixer/{site.mixer_id}/slots/*"}
    return heartbeats(stack) | leaves | slots


def names(found: Iterable[str]) -> list[str]:
    """Sorted, any place written ``slots/*``: which one a room gets is left open."""
    return sorted(re.sub(r"/slots/[0-9]+$", "/slots/*", key) for key in found)


def idle(stack: Stack) -> set[str]:
    return heartbeats(stack) | {"/rooms/blue/meta"}


def is_kept(stack: Stack, room: str) -> str:
    return f"/onair/ended/{stack.site.mixer_id}/{room}"


async def settled(stack: Stack, expected: set[str]) -> dict[str, Any]:
    """The keys, once they are these: what REST has promised may still be under way."""
    with anyio.move_on_after(30):
        while names(etcdctl(stack)) != sorted(expected):
            await anyio.sleep(0.05)
    found = etcdctl(stack)
    assert names(found) == sorted(expected)
    return found


def check_records(found: dict[str, Any], room: str) -> None:
    for leaf, fields in RECORDS.items():
        for key in (k for k in found if k.endswith(f"/{leaf}")):
            assert fields <= set(found[key]), key
    live, janus, mixer = (found[f"/rooms/{room}/{leaf}"] for leaf in ("livemeta", "janus", "mixer"))
    assert live["epoch"] == max(live["janusEpoch"], live["mixerEpoch"])
    assert (janus["epoch"], mixer["epoch"]) == (live["janusEpoch"], live["mixerEpoch"])
    assert (live["status"], janus["status"], mixer["status"]) == (
        *("onair", "forwarding", "publishing"),
    )
    assert 100_000 <= janus["janusRoomId"] <= 999_999
    assert {"ws", "admin"} <= set(janus["endpoints"])
    assert {"origin", "probe"} <= set(mixer["endpoints"])
    for kind, epoch in (("janus", live["janusEpoch"]), ("mixer", live["mixerEpoch"])):
        slot = found[f"/modules/{kind}/{live[f'{kind}Id']}/slots/{live[f'{kind}Slot']}"]
        assert slot == {"roomId": room, "epoch": epoch}


async def test_every_step_leaves_the_keys_of_the_contract(stack: Stack) -> None:
    await settled(stack, heartbeats(stack))

    made = await stack.call("POST", "/rooms", 201, json={"roomId": "blue", "metadata": {"a": 1}})
    assert set(made) >= ROOM_FIELDS - {"startedAt", "janus", "mixer"}
    assert (made["status"], made["hasPin"], made["metadata"]) == ("idle", False, {"a": 1})
    assert set(etcdctl(stack)) == idle(stack)

    started = await stack.call("POST", "/rooms/blue/start?wait=45")
    assert started["status"] == "onair"
    assert set(started) >= ROOM_FIELDS
    found = await settled(stack, on_air(stack, "blue"))
    check_records(found, "blue")
    assert started["epoch"] == found["/rooms/blue/livemeta"]["epoch"]
    assert started["janus"]["roomId"] == found["/rooms/blue/janus"]["janusRoomId"]

    got = await stack.call("GET", "/rooms/blue")
    assert got | {"onAirAt": None} == started | {"onAirAt": None}
    assert (await stack.call("GET", "/rooms"))["rooms"] == [got]
    told = await stack.call("GET", "/rooms/blue/explain")
    assert (told["status"], told["reason"]) == ("onair", "The room is on air.")
    assert await settled(stack, on_air(stack, "blue")) == found, "reading writes nothing"

    await stopped_started_deleted(stack, started, found)


async def stopped_started_deleted(
    stack: Stack, started: dict[str, Any], found: dict[str, Any]
) -> None:
    """The walk's second half, from a room on air."""
    stopped = await stack.call("POST", "/rooms/blue/stop")
    assert stopped["status"] == "stopping"
    await stack.becomes("blue", "idle")
    assert set(etcdctl(stack)) == idle(stack) | {is_kept(stack, "blue")}

    again = await stack.call("POST", "/rooms/blue/start?wait=45")
    assert again["epoch"] > started["epoch"]
    assert again["hlsUrl"] == started["hlsUrl"]
    found_again = await settled(stack, on_air(stack, "blue") | {is_kept(stack, "blue")})
    check_records(found_again, "blue")
    nonces = {f["/rooms/blue/livemeta"]["nonce"] for f in (found, found_again)}
    assert len(nonces) == 2, "a fresh nonce, and so a fresh key, at each start"

    removing = await stack.call("DELETE", "/rooms/blue", 202)
    assert removing["status"] == "removing"
    await stack.becomes("blue", "gone")
    await settled(stack, heartbeats(stack))
    await stack.nothing_remains()


async def test_nothing_secret_is_stored_or_shown(stack: Stack) -> None:
    await stack.create("blue", pin="9876-pin")
    await stack.start("blue")
    listen = await stack.call("POST", "/rooms/blue/listen", 201, json={"pin": "9876-pin"})
    key_line = (await stack.public.get(f"{listen['hlsUrl']}?token={listen['token']}")).text
    uri = re.search(r'URI="([^"]+)"', key_line)
    assert uri is not None
    key = (await stack.public.get(f"/hls/blue/{uri[1]}")).raise_for_status().content
    secrets = [b"9876-pin", stack.site.master, stack.site.api_key.encode(), key, key.hex().encode()]
    stored = json.dumps(etcdctl(stack)).encode()
    logged = "".join(stack.logs().values()).encode()
    processes = b"".join(_visible(pid) for pids in stack.ffmpegs().values() for pid in pids)
    for secret in (*secrets, listen["token"].encode()):
        assert secret not in stored
        assert secret not in logged
        assert secret not in processes


def _visible(pid: int) -> bytes:
    def read(name: str) -> bytes:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()

    assert os.path.exists(f"/proc/{pid}")
    return read("cmdline") + read("environ")
