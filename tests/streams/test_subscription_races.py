"""Subscriptions when two things happen at once, and how little they ask of appends."""

from pathlib import Path

import anyio
import pytest

from streams.subscriptions.courier import BURST, WAKES_A_SECOND
from tests.support.streams_server import server
from tests.support.subscribing import SUB, S, act, becomes, event, of, subscribed, told
from tests.support.webhooks import receiving

pytestmark = pytest.mark.anyio


async def test_nobody_is_told_of_a_generation_that_a_crash_could_take_back(
    tmp_path: Path,
) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        known = found.workers.known
        found.files.gate.clear()
        known.begin(known.find("one"))
        with anyio.fail_after(30):
            while found.store.unsettled < 2 and not receiver.hooks:  # the note, and who waits
                await anyio.sleep(0.01)
        assert receiver.hooks == []
        found.files.gate.set()
        assert (await receiver.came(1)).body["generation"] == 1


async def test_who_has_finished_has_not_failed_however_his_answer_ends(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        receiver.open, receiver.status = anyio.Event(), 500
        tail = await event(found)
        wake, inside = (await receiver.came(1)).body, found.workers.known.find("one").wake
        acks = [{"stream": "events/a", "offset": tail}]
        done = of(wake, acks=acks, done=True)
        assert (await act(found, "callback", wake["callback_token"], **done))[0] == 200
        receiver.open.set()
        with anyio.fail_after(30):
            while inside is not None and inside.under_way:
                await anyio.sleep(0.01)
        assert (await told(found))["status"] == "active"
        receiver.status = 200
        await event(found)
        assert (await receiver.came(2)).body["generation"] == 2


@pytest.mark.parametrize("told", [True, False])
async def test_what_is_deleted_while_it_is_delivered_leaves_nothing(
    tmp_path: Path, told: bool
) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        receiver.open, receiver.answer = anyio.Event(), b'{"done": true}'
        known = found.workers.known
        if told:
            await event(found)
            await receiver.came(1)
            wake = known.find("one").wake
        else:
            found.files.gate.clear()
            wake = known.begin(known.find("one"))
            with anyio.fail_after(30):
                while not wake.under_way:
                    await anyio.sleep(0.01)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(found.http.delete, SUB)
            with anyio.fail_after(30):
                while known.by_name:
                    await anyio.sleep(0.01)
            found.files.gate.set()
            receiver.open.set()
        with anyio.fail_after(30):
            while wake is not None and wake.under_way:
                await anyio.sleep(0.01)
        await found.store.settled()
        assert found.store.state.notes == {}
        assert len(receiver.hooks) == told


async def test_an_answer_that_takes_longer_than_the_lease_is_a_failure(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver, lease_ttl_ms=1000)
        receiver.open = anyio.Event()
        await event(found)
        first = (await receiver.came(1)).body
        await becomes(found, "failed")
        found.time.seconds += 2
        second = (await receiver.came(2)).body
        assert (first["generation"], second["generation"]) == (1, 2)


async def test_a_lease_begins_anew_after_a_start_and_then_ends(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with server(tmp_path) as found:
            await subscribed(found, receiver, lease_ttl_ms=1000)
            receiver.open = anyio.Event()
            await event(found)
            await receiver.came(1)
            receiver.open.set()
            known = found.workers.known
            with anyio.fail_after(30):
                while (wake := known.find("one").wake) is None or not wake.delivered:
                    await anyio.sleep(0.01)
            await found.store.settled()
        async with server(tmp_path) as found:
            assert (await receiver.came(2)).body["generation"] == 2


async def test_a_stream_nobody_follows_stirs_nobody(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        await event(found, "elsewhere")
        known = found.workers.known
        with anyio.fail_after(30):
            while known.stirred:
                await anyio.sleep(0.01)
        known.hear(found.store.look("elsewhere"))
        assert known.stirred == set()
        assert (await found.http.get(f"{S}elsewhere")).status_code == 200


async def test_wakes_come_at_a_pace_that_leaves_appends_their_time(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        body = {"type": "webhook", "pattern": "events/*", "webhook": {"url": receiver.url}}
        for number in range(BURST + 10):
            path = f"{S}__ds/subscriptions/{number}"
            assert (await found.http.put(path, json=body)).status_code == 201
        begun = anyio.current_time()
        await event(found)
        await receiver.came(BURST + 10)
        assert anyio.current_time() - begun > 0.9 * 10 / WAKES_A_SECOND
