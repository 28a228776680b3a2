"""Janus asked behind Onair's back, over its HTTP admin API: what an operator or a stranger does."""

from typing import Any

from janusmanager import messages
from janusmanager.api import Marker
from pkg.secrets import room_secret
from tests.support.hosts import JanusHost
from tests.support.stack import Stack

STRANGER_SSRC = 12345


async def ask(stack: Stack, host: JanusHost, body: messages.Body) -> dict[str, Any]:
    """Raises AssertionError if Janus refuses."""
    settings = host.place.janus
    message = messages.plugin(body) | {"transaction": "a", "admin_secret": settings.admin_secret}
    answer = await stack.public.post(settings.admin_http_url, json=message)
    response: dict[str, Any] = answer.json()["response"]
    assert "error" not in response, response
    return response


async def room_of(stack: Stack, host: JanusHost, room: str) -> tuple[int, str]:
    """Number and secret of a room's AudioBridge room."""
    listed = await ask(stack, host, messages.listing(host.place.janus.admin_key))
    for item in listed["list"]:
        marker = Marker.parse(item["description"])
        ours = marker is not None and marker.module_id == host.module_id  # strangers' look alike
        if marker is not None and ours and marker.room_id == room:
            return item["room"], room_secret(stack.site.master, marker.room_id, marker.janus_epoch)
    raise AssertionError(f"no AudioBridge room of {room}: {listed}")


async def drop_forwarders(stack: Stack, host: JanusHost, room: str) -> None:
    """All but a stranger's."""
    number, secret = await room_of(stack, host, room)
    listed = await ask(stack, host, messages.forwarder_listing(number, secret))
    key = host.place.janus.admin_key
    ours = [f["stream_id"] for f in listed["rtp_forwarders"] if f["ssrc"] != STRANGER_SSRC]
    assert ours, listed
    for stream in ours:
        await ask(stack, host, messages.forwarder_end(key, number, secret, stream))


async def plant_room(stack: Stack, host: JanusHost, number: int, description: str) -> str:
    """A room that Onair did not make; its name for the witness."""
    key = host.place.janus.admin_key
    body = {"request": "create", "room": number, "description": description, "admin_key": key}
    await ask(stack, host, body)
    return f"AudioBridge room {number} in {host.module_id}"


async def plant_forwarder(stack: Stack, host: JanusHost, room: str, port: int) -> None:
    """In our room, and not ours."""
    number, secret = await room_of(stack, host, room)
    key = host.place.janus.admin_key
    await ask(
        stack, host, messages.forwarding(key, number, secret, "127.0.0.1", port, STRANGER_SSRC)
    )


async def has_planted_forwarder(stack: Stack, host: JanusHost, room: str) -> bool:
    number, secret = await room_of(stack, host, room)
    listed = await ask(stack, host, messages.forwarder_listing(number, secret))
    return any(f["ssrc"] == STRANGER_SSRC for f in listed["rtp_forwarders"])
