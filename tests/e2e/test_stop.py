"""Stop, start again, delete: what listeners keep for a minute, and that nothing stays after that.

The minute is the contract's and cannot be shortened; one test pays for it, and does the rest
of its work meanwhile.
"""

from collections.abc import Callable

import anyio
import pytest

from tests.support.listener import Listener, Playlist
from tests.support.stack import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(240)]

KEPT_SECONDS = 60.0
LATE_SECONDS = 15.0  # etcd looks for expired leases twice a second; and two cores have more to do


async def played(stack: Stack, room: str) -> tuple[Listener, Playlist]:
    """A new room on air, with two segments out."""
    url = (await stack.create(room))["hlsUrl"]
    await stack.start(room)
    listener = Listener(stack.public, url)
    with anyio.fail_after(45):
        async for _ in listener.follow():
            break
    return listener, await listener.playlist()


async def stopped(stack: Stack, room: str) -> float:
    """Stop it; when it was idle, on the loop's clock."""
    assert (await stack.call("POST", f"/rooms/{room}/stop"))["status"] == "stopping"
    await stack.becomes(room, "idle")
    return anyio.current_time()


async def hear_all(stack: Stack, listener: Listener, playlist: Playlist) -> None:
    """As one who joins now: no key is remembered."""
    newcomer = Listener(stack.public, listener.url)
    for segment in playlist.segments:
        assert (await newcomer.hear(segment)).rate == 48_000


async def status_of(stack: Stack, url: str) -> int:
    return (await stack.public.get(url)).status_code


async def test_the_last_minute_of_a_stopped_room(
    stack: Stack, figure: Callable[[str, object], None]
) -> None:
    listener, before = await played(stack, "blue")
    assert not before.ended
    asked_at = anyio.current_time()
    idle_at = await stopped(stack, "blue")
    last = await listener.playlist()
    assert last.ended
    assert last.last >= before.last
    await hear_all(stack, listener, last)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again, stack)
        with anyio.fail_after(KEPT_SECONDS + LATE_SECONDS + 15):
            while (answer := await stack.public.get(listener.url)).status_code == 200:
                gone_from = anyio.current_time()
                assert "#EXT-X-ENDLIST" in answer.text
                if gone_from - idle_at < KEPT_SECONDS - 5:
                    await hear_all(stack, listener, last)
                await anyio.sleep(1 if gone_from - idle_at < KEPT_SECONDS - 3 else 0.1)
    gone_at = anyio.current_time()
    kept = gone_at - idle_at
    figure("seconds kept after idle", round(kept, 1))
    assert answer.status_code == 404
    assert gone_at - asked_at >= KEPT_SECONDS, "etcd never ends a lease early"
    assert kept < KEPT_SECONDS + LATE_SECONDS
    segment = last.segments[-1]
    assert [await status_of(stack, url) for url in (segment.url, segment.key_url)] == [404, 404]
    await stack.call("DELETE", "/rooms/blue", 202)
    await stack.nothing_remains()


async def again(stack: Stack) -> None:
    """Meanwhile, another room: the same address over a stop and a start, then deleted."""
    listener, before = await played(stack, "red")
    first = await stack.call("GET", "/rooms/red")
    await stopped(stack, "red")
    ended = await listener.playlist()

    await stack.call("POST", "/rooms/red/start")
    meanwhile = await stack.public.get(listener.url)
    assert meanwhile.status_code in {200, 503}, "starting again, or already there"
    await stack.becomes("red", "onair")
    second = await stack.call("GET", "/rooms/red")
    assert second["hlsUrl"] == first["hlsUrl"]
    assert second["epoch"] > first["epoch"]
    fresh = await listener.playing()  # the listener itself checks that numbers never go back
    assert fresh.sequence > ended.last >= before.last
    assert not fresh.ended
    assert fresh.segments[0].key_url != before.segments[0].key_url
    await hear_all(stack, listener, fresh)

    await stack.call("DELETE", "/rooms/red", 202)
    with anyio.fail_after(30):  # the copy that playlists are served by may lag behind
        while await status_of(stack, listener.url) != 404:
            await anyio.sleep(0.01)
    await stack.becomes("red", "gone")
    segment = fresh.segments[-1]
    assert [await status_of(stack, url) for url in (segment.url, segment.key_url)] == [404, 404]
    assert "red" not in stack.ffmpegs()
    assert not any("/red/" in name for name in await stack.janus_rooms())
    with anyio.fail_after(30):
        while any("red" in name for name in (*stack.files(), *await stack.keys())):
            await anyio.sleep(0.05)
