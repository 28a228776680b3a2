"""One host's connection: in order, never held up by Janus, and ended for the right reason."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup

from pkg.etcd.memory import MemoryStore
from pkg.model import Epoch, HostStatus
from pkg.tokens import LEEWAY_SECONDS
from tests.support.gateway_parts import Call, FakeBridge, Part, connected, holder, on_air, running
from tests.support.virtual import until
from wsgateway.exchange import (
    Close,
    Effect,
    End,
    Ended,
    Enter,
    Entered,
    Event,
    MediaLost,
    MediaUp,
    Note,
    Offer,
    Peer,
    PeerLeft,
    PeersSeen,
    Place,
    PlaceLost,
    Received,
    RoomSeen,
    Send,
    SetMuted,
    Trickle,
    WakeAt,
    Woken,
)

pytestmark = pytest.mark.anyio

HOUR = 3600.0
PLACE = Place("ws://j", 1, Epoch(1), "pin", "secret")


def enter(attempt: int) -> Enter:
    return Enter(attempt, PLACE, "ann", None, muted=False)


@asynccontextmanager
async def scene(until: float = HOUR) -> AsyncGenerator[tuple[Part, Call, TaskGroup]]:
    async with running(MemoryStore()) as part, anyio.create_task_group() as tasks:
        await on_air(part.etcd)
        call = await connected(part, tasks, until=until)
        await settled(call)
        yield part, call, tasks
        tasks.cancel_scope.cancel()


async def settled(call: Call) -> None:
    await until(lambda: bool(call.session.heard(RoomSeen)))


def wants(call: Call, *effects: Effect) -> None:
    """Have the session want this at the host's next frame."""
    call.session.wants[Received] = effects
    call.socket.say("{}")


async def bridge(part: Part, *, takes: float = 0.1) -> FakeBridge:
    await until(lambda: bool(part.bridges))
    part.bridges[0].takes = takes
    return part.bridges[0]


async def test_what_is_wanted_is_done_in_order() -> None:
    async with scene() as (_, call, _):
        wants(call, Send("one"), Send("two"), Note(HostStatus.JOINED, "Ann", muted=True))
        await until(lambda: call.socket.sent == ["one", "two"])
        await until(lambda: call.claim.written is call.claim.host)
        assert (call.claim.host.status, call.claim.host.muted) == (HostStatus.JOINED, True)


async def test_a_slow_janus_holds_up_nothing() -> None:
    async with scene() as (part, call, _):
        wants(call, enter(1))
        janus = await bridge(part, takes=9.0)
        wants(call, Send("still here"))
        await until(lambda: call.socket.sent == ["still here"], within=1.0)
        assert not call.session.heard(Entered)
        await until(lambda: call.session.heard(Entered) == [Entered(1, 1, ())])
        assert janus.done == [enter(1)]


async def test_janus_is_asked_one_thing_after_the_other() -> None:
    async with scene() as (part, call, _):
        mute, offer, candidate = SetMuted(muted=True), Offer(1, "sdp"), Trickle(1, None)
        wants(call, enter(1), mute, offer, candidate)
        janus = await bridge(part)
        await until(lambda: janus.done == [enter(1), mute, offer, candidate])


async def test_a_new_place_overtakes_what_was_meant_for_the_old_one() -> None:
    async with scene() as (part, call, _):
        wants(call, enter(1), Offer(1, "sdp"), Trickle(1, None))
        janus = await bridge(part, takes=9.0)
        wants(call, enter(2))
        await until(lambda: janus.verbs == [enter(1), enter(2)], within=2.0)
        await until(lambda: janus.done == [enter(2)])
        assert call.session.heard(Entered) == [Entered(2, 1, ())]


async def test_a_later_offer_takes_the_place_of_one_that_waits() -> None:
    async with scene() as (part, call, _):
        wants(call, enter(1), Offer(1, "a"), Trickle(1, None), Offer(2, "b"), Trickle(2, None))
        janus = await bridge(part)
        await until(lambda: janus.done == [enter(1), Offer(2, "b"), Trickle(2, None)])


async def test_a_mute_is_written_once_janus_has_done_it() -> None:
    """A moderator's call waits for that."""
    async with scene() as (part, call, _):
        wants(call, enter(1))
        janus = await bridge(part)
        await until(lambda: janus.done == [enter(1)])
        janus.takes = 3.0
        mute, note = SetMuted(muted=True), Note(HostStatus.JOINED, None, muted=True)
        wants(call, mute, note)
        await until(lambda: janus.verbs == [enter(1), mute])
        assert not call.claim.host.muted
        await until(lambda: call.claim.host.muted)
        assert janus.done == [enter(1), mute]


async def test_a_janus_that_lets_nobody_in_is_told_of_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with scene() as (part, call, _):
        wants(call, enter(1))
        janus = await bridge(part)
        janus.refuses = "wrong pin"
        for attempt in range(2, 9):
            wants(call, enter(attempt))
            await until(lambda n=attempt: enter(n) in janus.done)  # type: ignore[misc]
        assert capsys.readouterr().out.count("wrong pin") == 1


async def test_news_of_others_wait_a_moment_but_keep_their_place() -> None:
    """Else who enters would be told so only after all others of this gateway had heard of him."""
    came, went = PeersSeen(1, (Peer(2, "bob"),)), PeerLeft(1, 2)
    async with scene() as (part, call, _):
        wants(call, enter(1))
        janus = await bridge(part)
        await until(lambda: bool(call.session.heard(Entered)))
        janus.tell(came)
        assert not call.session.heard(PeersSeen)
        await until(lambda: call.session.events[-1] == came, within=0.1)
        janus.tell(went)
        janus.tell(MediaUp(1))
        assert call.session.events[-2:] == [went, MediaUp(1)]


@pytest.mark.parametrize("event", [PeerLeft(1, 2), PlaceLost(1, "gone")])
async def test_nothing_is_told_to_who_has_gone(event: Event) -> None:
    """His session would want to go back in."""
    async with scene() as (part, call, _):
        wants(call, enter(1))
        janus = await bridge(part)
        await until(lambda: bool(call.session.heard(Entered)))
        janus.tell(PeerLeft(1, 3))
        call.socket.hang_up()
        await call.over.wait()
        janus.tell(event)
        call.connection.end(End.STOPPING)
        await anyio.sleep(1.0)
        assert isinstance(call.session.events[-1], Entered)


async def test_news_of_janus_reaches_the_session_at_once() -> None:
    async with scene() as (part, call, _):
        wants(call, enter(1))
        janus = await bridge(part)
        janus.tell(MediaLost(1, "ice"))
        assert call.session.heard(MediaLost) == [MediaLost(1, "ice")]


# -- ends ---------------------------------------------------------------------------------


async def ends(call: Call, code: int) -> None:
    with anyio.fail_after(10):
        await call.over.wait()
    assert call.socket.closed is not None
    assert call.socket.closed[0] == code


def obeys(call: Call, why: End, code: int) -> None:
    """The session closes with this code when it is told to end for that reason, and only then."""

    def handle(event: Event, now: float) -> list[Effect]:
        call.session.events.append(event)
        return [Close(code, "because")] if event == Ended(why) else []

    call.session.handle = handle  # type: ignore[method-assign]


async def test_the_key_is_free_before_the_socket_is_closed() -> None:
    async with scene() as (part, call, _):
        close, held = call.socket.close, list[str | None]()

        async def closing(code: int, reason: str) -> None:
            held.append(holder(part.etcd.store))
            await close(code, reason)

        call.socket.close = closing  # type: ignore[method-assign]
        wants(call, Send("bye"), Close(1000, "left"), Send("never"))
        await ends(call, 1000)
        assert (call.socket.sent, held) == (["bye"], [None])


async def test_the_key_is_freed_when_the_socket_is_gone() -> None:
    async with scene() as (part, call, _):
        call.socket.hang_up()
        await until(lambda: holder(part.etcd.store) is None)
        await call.over.wait()


async def test_janus_is_left_when_the_socket_is_gone() -> None:
    async with scene() as (part, call, _):
        wants(call, enter(1), SetMuted(muted=True))
        janus = await bridge(part, takes=9.0)
        call.socket.hang_up()
        with anyio.fail_after(3):
            await call.over.wait()
        assert janus.verbs == [enter(1), "exit"]


async def test_with_etcd_away_a_host_may_stay_and_may_leave() -> None:
    async with scene() as (part, call, _):
        part.etcd.outage(down=True)
        await anyio.sleep(60)
        wants(call, Send("pong"))
        await until(lambda: call.socket.sent == ["pong"])
        wants(call, Close(1000, "left"))
        await ends(call, 1000)
        part.etcd.outage(down=False)
        await until(lambda: holder(part.etcd.store) is None)


async def test_a_token_ends() -> None:
    async with scene(until=30) as (_, call, _):
        obeys(call, End.EXPIRED, 4401)
        await anyio.sleep(30 + LEEWAY_SECONDS - 2)
        assert call.socket.closed is None
        await ends(call, 4401)


async def test_who_does_not_read_is_closed() -> None:
    async with scene() as (_, call, _):
        call.socket.reads = False
        wants(call, Send("x" * 255 * 1024))
        await until(lambda: len(call.socket.sent) == 1)
        assert not call.session.heard(Ended)
        wants(call, Send("x" * 2048))
        await until(lambda: call.session.heard(Ended) == [Ended(End.TOO_SLOW)])


async def test_a_binary_frame_ends_it() -> None:
    async with scene() as (_, call, _):
        call.socket.say(b"{}")
        await ends(call, 1003)
        assert not call.session.heard(Received)


async def test_a_session_that_fails_ends_nobody_else() -> None:
    async with scene() as (part, call, _):

        def fail(event: Event, now: float) -> list[Effect]:
            raise ZeroDivisionError

        call.session.handle = fail  # type: ignore[method-assign]
        call.connection.tell(Woken())  # as an alarm would, in a task of all
        await ends(call, 1011)
        assert part.presence.holds_lease


async def test_taken_over_in_the_same_gateway() -> None:
    async with scene() as (_, call, _):
        obeys(call, End.TAKEN_OVER, 4410)
        call.connection.end(End.TAKEN_OVER)
        await ends(call, 4410)


async def test_a_host_without_work_has_no_clock_left_behind() -> None:
    async with scene() as (_, call, _):
        now = anyio.current_time()
        wants(call, WakeAt(now + 5), WakeAt(now + 9))
        await until(lambda: bool(call.session.heard(Woken)), within=20)
        assert anyio.current_time() == pytest.approx(now + 9, abs=0.1)
        await anyio.sleep(30)
        assert len(call.session.heard(Woken)) == 1
