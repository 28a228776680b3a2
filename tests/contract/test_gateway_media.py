"""Hosts' audio and broken lines on the real Janus: what the fake cannot show."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import anyio
import pytest

from tests.support.audiobridge_stage import PATIENCE_SECONDS, Host, RealStage, process, stage
from tests.support.janus import RealJanus
from tests.support.proxy import Proxy, proxied
from wsgateway.exchange import (
    Entered,
    EntryFailed,
    MediaLost,
    MediaUp,
    PlaceLost,
    Refusal,
    SetMuted,
    Talking,
)
from wsgateway.stay import ENTER_SECONDS

__all__ = ["process", "stage"]
pytestmark = [pytest.mark.anyio, pytest.mark.janus]

LOW, HIGH = 440.0, 1000.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def behind_a_proxy(stage: RealStage, host: Host) -> AsyncIterator[Proxy]:
    """The host's way to Janus can be cut from here on."""
    async with proxied(urlsplit(stage.place.url).port or 0) as proxy:
        host.place = replace(stage.place, url=proxy.url.replace("http:", "ws:"))
        yield proxy


async def until_there_are(stage: RealStage, *users: str) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        while await stage.users() != sorted(users):
            await anyio.sleep(0.01)


async def told_of_talking(host: Host, participant: int, *, talking: bool) -> None:
    """Wait until that is the last word on it."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            said = [e for e in host.told if isinstance(e, Talking)]
            said = [e for e in said if e.participant_id == participant]
            if said and said[-1].talking is talking:
                return
            await anyio.sleep(0.01)


# --- what is heard ---


async def test_hosts_hear_each_other_and_a_muted_one_is_silent_at_once(stage: RealStage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    in_ann = (await ann.enter()).participant_id
    await bob.enter()
    await stage.publish(ann, LOW)
    await stage.publish(bob, HIGH)
    assert ann.caller is not None
    assert bob.caller is not None
    await ann.caller.hears(HIGH)
    await bob.caller.hears(LOW)
    await told_of_talking(bob, in_ann, talking=True)
    await told_of_talking(ann, in_ann, talking=True)

    await ann.bridge.set_muted(SetMuted(muted=True))
    await bob.caller.hears_nothing()
    await told_of_talking(ann, in_ann, talking=False)
    await ann.bridge.set_muted(SetMuted(muted=False))
    await bob.caller.hears(LOW)
    await told_of_talking(ann, in_ann, talking=True)

    ann.caller.sine.amplitude = 0.0
    await told_of_talking(bob, in_ann, talking=False)
    await told_of_talking(ann, in_ann, talking=False)


async def test_who_enters_muted_is_not_heard_by_his_second_offer_either(stage: RealStage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await bob.enter()
    await ann.enter(muted=True)
    await stage.publish(bob, HIGH)
    assert bob.caller is not None
    for _ in range(2):
        await stage.publish(ann, LOW)
        assert ann.caller is not None
        await ann.caller.hears(HIGH)
        assert (await bob.caller.listen())[1] < -50
    await ann.bridge.set_muted(SetMuted(muted=False))
    await bob.caller.hears(LOW)


async def test_offers_one_after_the_other_leave_one_participant(stage: RealStage) -> None:
    """Before any of them is connected, too: each has a handle of its own."""
    ann, bob = stage.host("ann"), stage.host("bob")
    await bob.enter()
    own = (await ann.enter()).participant_id
    await stage.publish(bob, HIGH)
    for _ in range(5):
        caller = await stage.offered(ann, LOW)
    await caller.connected()
    await caller.hears(HIGH)
    assert bob.caller is not None
    await bob.caller.hears(LOW)
    await until_there_are(stage, "ann", "bob")
    ups = [event.offer for event in ann.told if isinstance(event, MediaUp)]
    assert ups[-1] == 5
    await told_of_talking(ann, own, talking=True)
    assert not [event for event in ann.told if isinstance(event, MediaLost | PlaceLost)]


# --- broken lines ---


async def test_a_cut_line_is_a_lost_place_and_leaves_nobody_behind(stage: RealStage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await bob.enter()
    async with behind_a_proxy(stage, ann) as proxy:
        await ann.enter()
        await stage.publish(ann)
        proxy.cut()
        await ann.hears(PlaceLost)
        await until_there_are(stage, "bob")
    with anyio.fail_after(PATIENCE_SECONDS):
        while bob.of("ann") is not None:
            await anyio.sleep(0.01)


async def test_a_janus_that_does_not_answer_is_unavailable_within_a_bound(
    stage: RealStage, process: RealJanus
) -> None:
    ann = stage.host("ann")
    process.pause()
    began = anyio.current_time()
    failed = await ann.try_to_enter()
    took = anyio.current_time() - began
    process.resume()
    assert isinstance(failed, EntryFailed)
    assert failed.why is Refusal.UNAVAILABLE
    assert took < ENTER_SECONDS + PATIENCE_SECONDS
    await until_there_are(stage)  # what it was asked for while it slept is undone


async def test_a_mute_that_does_not_get_through_gives_the_place_up(stage: RealStage) -> None:
    """Nobody may be heard who believes that he is not."""
    ann, bob = stage.host("ann"), stage.host("bob")
    await bob.enter()
    async with behind_a_proxy(stage, ann) as proxy:
        await ann.enter()
        proxy.deaf = True
        await ann.bridge.set_muted(SetMuted(muted=True))
        assert PlaceLost in map(type, ann.told)
        await until_there_are(stage, "bob")


async def test_entering_that_is_cancelled_leaves_nobody_behind(stage: RealStage) -> None:
    rng = random.Random(1)
    ann = stage.host("ann")
    async with stage.spares.running():
        for _ in range(20):
            stage.spares.expect(ann.place.url)
            with anyio.move_on_after(rng.uniform(0, 0.02)):
                await ann.try_to_enter()
        await ann.bridge.exit()
    await until_there_are(stage)


async def test_one_enters_soon_after_janus_came_back(stage: RealStage, process: RealJanus) -> None:
    ann = stage.host("ann")
    await ann.enter()
    process.kill()
    await ann.hears(PlaceLost)
    process.start()
    await stage.create_room_anew()
    assert isinstance(await ann.try_to_enter(), Entered)
    await until_there_are(stage, "ann")
