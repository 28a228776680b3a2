"""Slot keys deleted by hand while a room is on air: they come back, and its FFmpeg never knew."""

import pytest

from pkg import keys
from pkg.etcd.api import Delete
from pkg.model import Kind, LiveMeta, RoomId
from roommanager.housekeeping import SWEEP_SECONDS
from tests.support.stack import Stack, until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(240)]


async def test_lost_places_come_back_and_ffmpeg_goes_on(stack: Stack) -> None:
    await stack.create("blue")
    await stack.start("blue")
    before, stored = stack.ffmpegs(), await stack.keys()
    live = LiveMeta.decode(stored[keys.room(RoomId("blue"), "livemeta")])
    slots = [keys.slot(kind, live.module(kind), live.slot(kind)) for kind in Kind]
    for key in slots:
        await stack.etcd.txn([], [Delete(key)])

    async def back() -> bool:
        found = await stack.keys()
        return all(found.get(key) == stored[key] for key in slots)

    await until(back, within=4 * SWEEP_SECONDS)
    assert stack.ffmpegs() == before
    assert await stack.status("blue") == "onair"
    assert (await stack.keys())[keys.room(RoomId("blue"), "livemeta")] == stored[
        keys.room(RoomId("blue"), "livemeta")
    ]
