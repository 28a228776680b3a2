"""Subscriptions over HTTP: webhooks, pull-wake, fences, and what is left of them after a start."""

from pathlib import Path

import anyio
import pytest

from streams.app.access import Access
from streams.store import check
from streams.subscriptions.signing import Claim
from streams.wal.records import Noted
from tests.support.streams_server import server
from tests.support.subscribing import (
    JSON,
    KEYS,
    SUB,
    S,
    act,
    becomes,
    code,
    cursors,
    event,
    failing,
    of,
    pulling,
    subscribed,
    told,
    until,
    wakes,
)
from tests.support.webhooks import receiving

pytestmark = pytest.mark.anyio


async def test_who_says_done_has_acked_what_it_was_told_and_hears_of_the_rest(
    tmp_path: Path,
) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        receiver.open, receiver.answer = anyio.Event(), b'{"done": true}'
        first = await event(found)
        hook = await receiver.came(1)
        hook.verify((await found.http.get(KEYS)).json())
        assert [(s["tail_offset"], s["has_pending"]) for s in hook.body["streams"]] == [
            (first, True)
        ]
        second = await event(found)  # after what it was told
        receiver.open.set()
        later = await receiver.came(2)
        assert later.body["generation"] == hook.body["generation"] + 1
        assert later.body["wake_id"] != hook.body["wake_id"]
        assert later.body["streams"][0]["acked_offset"] == first

        async def all_acked() -> bool:
            return await cursors(found) == {"events/a": second}

        await until(all_acked)
        assert len(receiver.hooks) == 2


async def test_a_callback_acks_once_and_is_then_fenced(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        tail = await event(found)
        wake = (await receiver.came(1)).body
        token = wake["callback_token"]
        past = of(wake, acks=[{"stream": "events/a", "offset": "9" * 16 + "_" + "9" * 16}])
        assert code(await act(found, "callback", token, **past)) == (409, "INVALID_OFFSET")
        assert code(await act(found, "callback", "x" + token, **of(wake)))[0] == 401
        assert code(await act(found, "callback", "", **of(wake))) == (401, "TOKEN_INVALID")
        foreign = found.workers.known.signing.token(Claim("other", 1), found.time.seconds)
        assert code(await act(found, "callback", foreign, **of(wake))) == (401, "TOKEN_INVALID")
        other = of(wake) | {"wake_id": "w_other"}
        assert code(await act(found, "callback", token, **other)) == (409, "FENCED")
        done = of(wake, acks=[{"stream": "events/a", "offset": tail}], done=True)
        assert await act(found, "callback", token, **done) == (
            200,
            {"ok": True, "next_wake": False},
        )
        assert code(await act(found, "callback", token, **done)) == (409, "FENCED")
        assert await cursors(found) == {"events/a": tail}
        found.time.seconds += 25 * 3600
        assert code(await act(found, "callback", token, **done)) == (401, "TOKEN_EXPIRED")


@pytest.mark.parametrize("refusal", [500, 302])
async def test_a_receiver_that_fails_is_tried_again_later_and_no_redirect_followed(
    tmp_path: Path, refusal: int
) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver)
        receiver.status, receiver.headers = refusal, {"location": "/elsewhere"}
        await event(found)
        first = await receiver.came(1)
        await becomes(found, "failed")
        assert len(receiver.hooks) == 1
        receiver.status = 200
        found.time.seconds += 2  # the first pause is a second, a fifth more or less
        second = await receiver.came(2)
        assert (second.path, second.body["wake_id"]) == ("/hook", first.body["wake_id"])
        await becomes(found, "active")


async def test_a_lease_that_is_over_fences_and_wakes_another(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await pulling(found, lease_ttl_ms=1000)
        await event(found)
        await until(lambda: wakes(found))
        status, first = await act(found, "claim", worker="w1")
        assert status == 200
        found_busy = await act(found, "claim", worker="w2")
        assert code(found_busy) == (409, "ALREADY_CLAIMED")
        assert found_busy[1]["error"]["current_holder"] == "w1"

        async def next_wake() -> bool:
            return await wakes(found) == [1, 2]

        await until(next_wake)
        late = of(first, done=True)
        assert code(await act(found, "ack", first["token"], **late)) == (409, "FENCED")
        assert (await act(found, "claim", worker="w2"))[1]["generation"] == 2


async def test_release_gives_the_work_to_the_next_and_acks_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await pulling(found)
        assert code(await act(found, "claim", worker="w")) == (409, "NO_PENDING_WORK")
        tail = await event(found)
        await until(lambda: wakes(found))
        claimed = (await act(found, "claim", worker="w"))[1]
        kept = await act(found, "ack", claimed["token"], **of(claimed))
        assert kept == (200, {"ok": True, "next_wake": False})
        assert (await act(found, "release", claimed["token"], **of(claimed)))[0] == 204

        async def again() -> bool:
            return await wakes(found) == [1, 2]

        await until(again)
        claimed = (await act(found, "claim", worker="w"))[1]
        assert claimed["streams"][0]["has_pending"]
        acks = [{"stream": "/events/a", "offset": tail}]
        done = of(claimed, acks=acks, done=True)
        assert (await act(found, "ack", claimed["token"], **done))[0] == 200
        assert code(await act(found, "claim", worker="w")) == (409, "NO_PENDING_WORK")


async def test_a_wake_stream_that_is_not_there_yet_is_told_when_it_is(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        body = {"type": "pull-wake", "pattern": "**", "wake_stream": "wake"}
        await found.http.put(SUB, json=body)
        await event(found)
        await becomes(found, "failed")
        await found.http.put(f"{S}wake", headers=JSON, content=b"[]")
        found.time.seconds += 2
        await until(lambda: wakes(found))
        assert list(await cursors(found)) == ["events/a"]  # never its own wake stream


async def test_bytes_that_are_not_durable_wake_nobody(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await found.http.put(f"{S}events/a", headers=JSON)
        await subscribed(found, receiver)
        found.files.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(event, found)
            with anyio.fail_after(30):
                while not found.store.unsettled:
                    await anyio.sleep(0.01)
            assert receiver.hooks == []
            found.files.gate.set()
        await receiver.came(1)


@pytest.mark.parametrize("fold", [False, True])
async def test_what_was_known_is_known_after_a_start(tmp_path: Path, fold: bool) -> None:
    async with receiving() as receiver:
        async with server(tmp_path) as found:
            _, first = await failing(found, receiver)
            before, jwks = await told(found), (await found.http.get(KEYS)).json()
            if fold:
                found.store.rotate()
                await event(found, "other")
                await found.store.checkpoint()
        assert check.check(tmp_path).ok
        async with server(tmp_path) as found:
            after = await told(found)
            signing = after["webhook"].pop("signing"), before["webhook"].pop("signing")
            assert (signing[0]["kid"], after) == (signing[1]["kid"], before)
            receiver.status = 200
            found.time.seconds += 2
            second = await receiver.came(2)
            second.verify(jwks)
            assert second.body["wake_id"] == first["wake_id"]


async def test_a_wake_goes_on_over_a_start_and_nothing_is_left_of_what_was_deleted(
    tmp_path: Path,
) -> None:
    async with receiving() as receiver:
        async with server(tmp_path) as found:
            tail, wake = await failing(found, receiver)
        async with server(tmp_path) as found:
            done = of(wake, acks=[{"stream": "events/a", "offset": tail}], done=True)
            assert (await act(found, "callback", wake["callback_token"], **done))[0] == 200
        async with server(tmp_path) as found:
            assert (await cursors(found))["events/a"] == tail
            await found.http.delete(SUB)
        async with server(tmp_path) as found:
            assert (await found.http.get(SUB)).status_code == 404
            assert found.store.state.notes == {}
        assert check.check(tmp_path).ok


async def test_links_come_and_go_with_streams_and_wishes(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        old = await event(found, "events/old")
        await subscribed(found, receiver, streams=["named", "events/old"])
        assert await cursors(found) == {"named": "0" * 16 + "_" + "0" * 16, "events/old": old}
        for path in ("x/y", "events/old"):
            await found.http.post(f"{SUB}/streams", json={"streams": [path]})
            answer = await found.http.delete(f"{SUB}/streams/{path.replace('/', '%2F')}")
            assert answer.status_code == 204
        links = {link["path"]: link["link_type"] for link in (await told(found))["streams"]}
        assert links == {"named": "explicit", "events/old": "glob"}
        await event(found, "named")
        assert (await receiver.came(1)).body["streams"][0]["path"] == "named"
        await found.http.delete(f"{S}named")
        await found.http.delete(f"{S}events/old")
        assert list(await cursors(found)) == ["named"]


async def test_what_is_gone_but_kept_for_its_forks_is_not_followed(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await event(found)
        await found.http.put(f"{S}fork", headers={"stream-forked-from": f"{S}events/a"})
        await found.http.delete(f"{S}events/a")
        await pulling(found)
        assert await cursors(found) == {}


async def test_a_cursor_of_a_stream_that_was_made_anew_counts_from_its_beginning(
    tmp_path: Path,
) -> None:
    async with server(tmp_path) as found:
        await event(found, "named")
        await event(found, "named")
        await pulling(found, pattern=None, streams=["named"])
        await found.http.delete(f"{S}named")
        await event(found, "named")
        await until(lambda: wakes(found))
        (link,) = (await act(found, "claim", worker="w"))[1]["streams"]
        assert (link["acked_offset"], link["has_pending"]) == ("0" * 16 + "_" + "0" * 16, True)


async def test_what_is_asked_for_again_must_be_the_same(tmp_path: Path) -> None:
    async with server(tmp_path) as found, receiving() as receiver:
        await subscribed(found, receiver, streams=["b", "a"])
        same: dict[str, object] = {"type": "webhook", "pattern": "/events/*"}
        same |= {"streams": ["a", "b", "a"], "webhook": {"url": receiver.url}}
        assert (await found.http.put(SUB, json=same)).status_code == 200
        other = await found.http.put(SUB, json=same | {"lease_ttl_ms": 5000})
        assert code((other.status_code, other.json())) == (409, "SUBSCRIPTION_ALREADY_EXISTS")


BAD: list[dict[str, object]] = [
    {},
    {"type": "webhook"},
    {"type": "webhook", "pattern": "a", "webhook": {}},
    {"type": "webhook", "pattern": "a//b", "webhook": {"url": "https://a.example"}},
    {"type": "pull-wake", "pattern": "a"},
    {"type": "pull-wake", "pattern": "a", "wake_stream": "__ds/x"},
    {"type": "pull-wake", "streams": [1], "wake_stream": "w"},
    {"type": "pull-wake", "streams": "a", "wake_stream": "w"},
    {"type": "pull-wake", "pattern": "a", "wake_stream": "w", "lease_ttl_ms": 999},
    {"type": "pull-wake", "pattern": "a", "wake_stream": "w", "lease_ttl_ms": True},
    {"type": "pull-wake", "pattern": "a", "wake_stream": "w", "description": "x" * 1025},
]


async def test_what_makes_no_sense_is_refused_in_words(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        for body in BAD:
            answer = await found.http.put(SUB, json=body)
            assert code((answer.status_code, answer.json())) == (400, "INVALID_REQUEST"), body
        for content, status in ((b"[]", 400), (b"{", 400), (b" " * 2**21, 413)):
            assert (await found.http.put(SUB, content=content)).status_code == status
        for url in ("http://10.0.0.1/", "https://[::1]/", "ftp://a.example", "https://u@a.example"):
            body = {"type": "webhook", "pattern": "a", "webhook": {"url": url}}
            answer = await found.http.put(SUB, json=body)
            assert code((answer.status_code, answer.json())) == (400, "WEBHOOK_URL_REJECTED")
        for path in ("", "/nothing", "/streams/x/../..", "/claim"):
            answer = await found.http.post(SUB + path, json={"worker": "w"})
            assert answer.status_code in {404, 405}
        assert (await found.http.delete(SUB)).status_code == 204
        assert (await found.http.post(KEYS)).status_code == 405
        assert (await found.http.options(SUB)).status_code == 204


async def test_only_who_may_write_may_subscribe_and_reports_have_their_own_tokens(
    tmp_path: Path,
) -> None:
    async with server(tmp_path, Access(b"key")) as found, receiving() as receiver:
        key = {"authorization": "Bearer key"}
        body = {"type": "webhook", "pattern": "events/*", "webhook": {"url": receiver.url}}
        for name in ("one", "callback", "ack"):
            path = f"{S}__ds/subscriptions/{name}"
            assert (await found.http.put(path, json=body)).status_code == 401
            assert (await found.http.get(path)).status_code == 401
            assert (await found.http.delete(f"{path}/streams/ack")).status_code == 401
        assert (await found.http.put(SUB, json=body, headers=key)).status_code == 201
        assert (await found.http.get(KEYS)).status_code == 200
        await found.http.put(f"{S}events/a", headers=JSON | key, content=b"1")
        wake = (await receiver.came(1)).body
        done = of(wake, done=True)
        assert code(await act(found, "callback", "key", **done)) == (401, "TOKEN_INVALID")
        assert (await act(found, "callback", wake["callback_token"], **done))[0] == 200


async def test_check_finds_a_cursor_past_its_tail(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await event(found, "named")
        await pulling(found, pattern=None, streams=["named"])
        (key,) = (key for key in found.store.state.notes if key.startswith("l/"))
        found.store.note([Noted(key, "[1, 999, true, false]")])
        await found.store.settled()
    assert any("S7 one: has acked past" in line for line in check.check(tmp_path).faults)
