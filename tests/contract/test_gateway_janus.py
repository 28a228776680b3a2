"""What every AudioBridge of a host must do, fake (virtual time) or on the real Janus."""

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from tests.support.audiobridge_stage import PATIENCE_SECONDS, FakeStage, Host, Stage, real_stage
from tests.support.janus import RealJanus
from tests.support.janus_kinds import anyio_backend, kind, process
from wsgateway.exchange import (
    Entered,
    EntryFailed,
    MediaLost,
    MediaUp,
    Offer,
    OfferFailed,
    PeersSeen,
    PlaceLost,
    Refusal,
    SetMuted,
    Trickle,
)
from wsgateway.stay import KEEPALIVE_SECONDS

__all__ = ["anyio_backend", "kind", "process"]
pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage(process: RealJanus | None) -> AsyncIterator[Stage]:
    if process is None:
        yield FakeStage()
        return
    async with real_stage(process) as real:
        yield real


async def until_left(stage: Stage, *users: str) -> None:
    """Wait until Janus lists just these."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while await stage.users() != sorted(users):
            await anyio.sleep(0.01)


async def until_seen(host: Host, user_id: str, **facts: object) -> None:
    """Wait until ``host`` sees the other so."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            peer = host.of(user_id)
            if peer is not None and all(getattr(peer, n) == v for n, v in facts.items()):
                return
            await anyio.sleep(0.01)


async def until_gone(host: Host, user_id: str) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        while host.of(user_id) is not None:
            await anyio.sleep(0.01)


# --- coming and going ---


async def test_the_first_is_alone_and_the_second_is_seen_by_both(stage: Stage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob@example.org")
    assert (await ann.enter()).others == ()
    [seen] = (await bob.enter(muted=True)).others
    assert (seen.user_id, seen.display, seen.muted, seen.live) == ("ann", "Ann", False, False)
    await until_seen(ann, "bob@example.org", display="Bob@Example.Org", muted=True, live=False)
    assert await stage.users() == ["ann", "bob@example.org"]


async def test_who_leaves_is_gone_and_hears_nothing_more(stage: Stage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await ann.enter()
    await bob.enter()
    await until_seen(ann, "bob")
    await bob.bridge.exit()
    assert await stage.users() == ["ann"]
    told = list(bob.told)
    await until_gone(ann, "bob")
    await ann.bridge.exit()
    await ann.bridge.exit()
    assert await stage.users() == []
    assert bob.told == told
    assert PlaceLost not in map(type, ann.told)


async def test_entering_again_is_a_new_place_and_leaves_nobody_behind(stage: Stage) -> None:
    ann = stage.host("ann")
    first, second = await ann.enter(), await ann.enter()
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.others == ()
    await until_left(stage, "ann")
    assert ann.told == []


async def test_a_stale_participant_of_the_same_user_is_put_out(stage: Stage) -> None:
    bob, stale, ann = stage.host("bob"), stage.host("ann"), stage.host("ann")
    await bob.enter()
    old = await stale.enter()
    await until_seen(bob, "ann")
    entered = await ann.enter()
    assert [peer.user_id for peer in entered.others] == ["bob"]
    lost = await stale.hears(PlaceLost)
    assert lost.attempt == old.attempt
    await until_left(stage, "ann", "bob")
    await until_seen(bob, "ann", participant_id=entered.participant_id)
    assert old.participant_id not in bob.sees
    assert ann.told == []


async def test_who_came_by_a_later_connection_is_not_put_out(stage: Stage) -> None:
    """Else a gateway cut off etcd, which does not know of it, would take turns with it."""
    later, old = stage.host("ann"), stage.host("ann")
    later.fence, old.fence = 2, 1
    await later.enter()
    assert isinstance(await old.try_to_enter(), EntryFailed)
    await until_left(stage, "ann")
    assert later.told == []


async def test_a_participant_of_no_gateway_has_a_name_of_its_own(stage: Stage) -> None:
    ann = stage.host("ann")
    async with stage.stranger("test tone"):
        [seen] = (await ann.enter()).others
        assert seen.user_id == f"janus-{seen.participant_id}"
        assert seen.display == "test tone"
    await until_gone(ann, seen.user_id)


# --- refusals ---


async def test_a_wrong_pin_is_refused(stage: Stage) -> None:
    ann = stage.host("ann")
    ann.place = replace(stage.place, pin="wrong")
    failed = await ann.try_to_enter()
    assert isinstance(failed, EntryFailed)
    assert failed.why is Refusal.REFUSED
    assert await stage.users() == []


async def test_a_room_that_is_not_there(stage: Stage) -> None:
    ann = stage.host("ann")
    ann.place = replace(stage.place, number=654321)
    failed = await ann.try_to_enter()
    assert isinstance(failed, EntryFailed)
    assert (failed.attempt, failed.why) == (1, Refusal.NO_ROOM)


async def test_without_the_secret_one_still_enters(stage: Stage) -> None:
    """Only a stale participant stays then."""
    stale, ann = stage.host("ann"), stage.host("ann")
    await stale.enter()
    ann.place = replace(stage.place, secret="wrong")
    assert (await ann.enter()).others == ()


async def test_a_dead_janus_is_unavailable(stage: Stage) -> None:
    ann = stage.host("ann")
    await stage.kill()
    with anyio.fail_after(PATIENCE_SECONDS):
        failed = await ann.try_to_enter()
    assert isinstance(failed, EntryFailed)
    assert failed.why is Refusal.UNAVAILABLE


async def test_verbs_without_a_place_do_nothing(stage: Stage) -> None:
    ann = stage.host("ann")
    await ann.bridge.set_muted(SetMuted(muted=True))
    await ann.bridge.trickle(Trickle(1, None))
    failed = await ann.bridge.offer(Offer(1, "v=0"))
    assert isinstance(failed, OfferFailed)
    assert failed.why is Refusal.UNAVAILABLE
    await ann.bridge.exit()
    assert ann.told == []


# --- losing the place ---


async def test_a_killed_janus_is_noticed_at_once(stage: Stage) -> None:
    ann = stage.host("ann")
    await ann.enter()
    await stage.kill()
    with anyio.fail_after(KEEPALIVE_SECONDS / 2):
        assert (await ann.hears(PlaceLost)).attempt == 1
        await ann.bridge.exit()


async def test_a_destroyed_room_is_a_lost_place(stage: Stage) -> None:
    ann = stage.host("ann")
    await ann.enter()
    await stage.destroy_room()
    assert (await ann.hears(PlaceLost)).attempt == 1
    failed = await ann.try_to_enter()
    assert isinstance(failed, EntryFailed)
    assert failed.why is Refusal.NO_ROOM
    assert len(ann.told) == 1


# --- media and muting ---


async def test_being_muted_is_told_to_the_others(stage: Stage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await ann.enter()
    await bob.enter()
    await bob.bridge.set_muted(SetMuted(muted=True))
    await until_seen(ann, "bob", muted=True)
    await bob.bridge.set_muted(SetMuted(muted=False))
    await until_seen(ann, "bob", muted=False)


async def test_an_offer_brings_media_up_and_the_others_see_it(stage: Stage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await bob.enter()
    await ann.enter(muted=True)
    await stage.publish(ann)
    await until_seen(bob, "ann", live=True, muted=True)
    assert [event for event in ann.told if not isinstance(event, PeersSeen)] == [MediaUp(1)]


async def test_a_second_offer_takes_the_place_of_the_first(stage: Stage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    entered = await ann.enter()
    await bob.enter()
    await ann.bridge.set_muted(SetMuted(muted=True))
    await stage.publish(ann)
    await stage.publish(ann)
    assert MediaUp(2) in ann.told
    assert MediaLost not in map(type, ann.told)
    await until_left(stage, "ann", "bob")
    await until_seen(bob, "ann", live=True, muted=True)
    assert entered.participant_id not in ann.sees


async def test_who_hangs_up_is_still_in_the_room_and_may_offer_again(stage: Stage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await ann.enter(muted=True)
    await bob.enter()
    await stage.publish(ann)
    await until_seen(bob, "ann", live=True)
    await stage.hang_up(ann)
    assert (await ann.hears(MediaLost)).offer == 1
    await until_seen(bob, "ann", live=False, muted=True)
    await stage.publish(ann)
    await until_seen(bob, "ann", live=True, muted=True)
    await until_left(stage, "ann", "bob")
    assert PlaceLost not in map(type, ann.told)


async def test_entering_is_answered_before_anything_is_told(stage: Stage) -> None:
    """Many come at once: each other is either in the answer or told after it, none in neither."""
    hosts = [stage.host(f"user{n}") for n in range(8)]
    async with anyio.create_task_group() as tasks:
        for host in hosts:
            tasks.start_soon(_enter_and_look, host)
    for host in hosts:
        for other in hosts:
            if other is not host:
                await until_seen(host, other.user_id)


async def _enter_and_look(host: Host) -> None:
    entered = await host.try_to_enter()
    assert isinstance(entered, Entered)
    assert host.told == []
    host.sees = {peer.participant_id: peer for peer in entered.others}
