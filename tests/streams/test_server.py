"""What the official suite does not ask: broken disks, bounds, keys, pages, draining."""

from pathlib import Path

import anyio
import httpx
import pytest

from streams.app.access import Access, ReadToken
from tests.support.streams_server import server

pytestmark = pytest.mark.anyio

TEXT = {"content-type": "text/plain"}
JSON = {"content-type": "application/json"}
A = "/v1/stream/a"


async def test_a_broken_disk_stops_writing_and_not_reading(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT, content=b"one")
        found.files.failure = OSError(5, "Input/output error")
        assert (await found.http.post(A, headers=TEXT, content=b"two")).status_code == 503
        again = await found.http.post(A, headers=TEXT, content=b"two")
        assert again.status_code == 503  # whatever the disk says now
        assert "restarted" in again.text
        assert (await found.http.get(A)).content == b"one"
        ready = await found.http.get("/readyz")
        assert (ready.status_code, "disk" in ready.text) == (503, True)
    async with server(tmp_path) as found:
        assert (await found.http.get(A)).content == b"one"


async def test_what_waits_behind_a_failed_commit_fails_too(tmp_path: Path) -> None:
    statuses = []

    async def post(body: bytes) -> None:
        statuses.append((await found.http.post(A, headers=TEXT, content=body)).status_code)

    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT, content=b"one")
        found.files.failure = OSError(5, "Input/output error")
        found.files.gate.clear()
        async with anyio.create_task_group() as tasks:
            for count in (1, 2):
                tasks.start_soon(post, b"two")
                with anyio.fail_after(30):
                    while found.store.unsettled < count:
                        await anyio.sleep(0.01)
            found.files.gate.set()
        assert statuses == [503, 503]
    async with server(tmp_path) as found:
        assert (await found.http.get(A)).content == b"one"


async def test_writers_need_the_key_and_readers_a_token(tmp_path: Path) -> None:
    access = Access(b"key", (ReadToken(b"all"), ReadToken(b"some", "rooms/")))
    key = {"authorization": "Bearer key"}
    async with server(tmp_path, access) as found:
        assert (await found.http.put(A, headers=TEXT)).status_code == 401
        assert (await found.http.put(A, headers=TEXT | key)).status_code == 201
        answers = {
            token: (await found.http.get(A, headers={"authorization": f"Bearer {token}"}))
            for token in ("all", "some", "none", "key")
        }
        codes = {token: answer.status_code for token, answer in answers.items()}
        assert codes == {"all": 200, "some": 401, "none": 401, "key": 200}
        assert answers["none"].headers["www-authenticate"] == "Bearer"
        for method in ("POST", "DELETE"):
            reader = {"authorization": "Bearer all"}
            assert (await found.http.request(method, A, headers=reader)).status_code == 401


async def test_a_long_json_stream_is_one_array_in_bounded_pieces(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=JSON)
        values = list(range(60_000))
        for _ in range(3):
            answer = await found.http.post(A, headers=JSON, json=values)
            assert answer.status_code == 204
        whole = await found.http.get(A)
        assert whole.json() == values * 3
        assert int(whole.headers["content-length"]) == len(whole.content) > 512 * 1024


async def test_a_body_of_too_many_messages_is_refused(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=JSON)
        many = b"[" + b"1," * 100_000 + b"1]"
        assert (await found.http.post(A, headers=JSON, content=many)).status_code == 413
        broken = b"[" + b"1," * 50_000 + b"]"
        assert (await found.http.post(A, headers=JSON, content=broken)).status_code == 400
        assert (await found.http.get(A)).json() == []


async def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    sent = b"[1.10, 123456789012345678901234567890, 1e400, -0.0]"
    async with server(tmp_path) as found:
        await found.http.put(A, headers=JSON)
        await found.http.post(A, headers=JSON, content=sent)
        assert (await found.http.get(A)).content == sent.replace(b", ", b",")
        refused = await found.http.post(A, headers=JSON, content=b"[NaN]")
        assert refused.status_code == 400


async def test_json_is_not_read_from_the_middle_of_a_message(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=JSON, content=b"[1234]")
        inside = "0000000000000000_0000000000000002"
        assert (await found.http.get(f"{A}?offset={inside}")).status_code == 400
        fork = {"stream-forked-from": A, "stream-fork-offset": inside}
        assert (await found.http.put("/v1/stream/f", headers=fork)).status_code == 400


async def test_readers_are_sent_away_when_the_server_drains(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT, content=b"one")

        async def drain() -> None:
            with anyio.fail_after(30):
                while found.waiting.readers < 1:
                    await anyio.sleep(0.01)
            found.waiting.drain()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            with anyio.fail_after(15):  # below the long-poll's own 20 s
                answer = await found.http.get(f"{A}?offset=now&live=long-poll")
        assert answer.status_code == 204


async def test_pages_stand_beside_the_streams(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT, content=b"one")
        assert (await found.http.get("/healthz")).text == "ok\n"
        assert (await found.http.get("/readyz")).text == "ok\n"
        figures = (await found.http.get("/metrics")).text
        assert "onair_streams_appends_total 1.0" in figures
        assert "onair_streams_streams 1.0" in figures


async def test_a_stream_that_is_deleted_while_it_is_read_is_cut_not_padded(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        for name, size in (("small", 10), ("large", 600_000)):
            await found.http.put(f"/v1/stream/{name}", headers=TEXT, content=bytes(size))
            found.files.remove(found.store.look(name).sid)  # as its deletion does
        assert (await found.http.get("/v1/stream/small")).status_code == 404
        with pytest.raises(httpx.RemoteProtocolError):
            await found.http.get("/v1/stream/large")


async def test_a_body_too_large_is_refused_before_it_is_taken(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put(A, headers=TEXT)
        answer = await found.http.post(A, headers=TEXT, content=bytes(17 * 2**20))
        assert answer.status_code == 413
        assert (await found.http.post(A, headers=TEXT, content=bytes(2**20))).status_code == 204


async def test_an_escaped_path_is_one_stream_in_any_spelling(tmp_path: Path) -> None:
    async with server(tmp_path) as found:
        await found.http.put("/v1/stream/x/%61", headers=TEXT, content=b"one")
        assert (await found.http.get("/v1/stream/x/a")).content == b"one"
        assert (await found.http.put("/v1/stream/__ds/x", headers=TEXT)).status_code == 404
        assert (await found.http.get("/v1/other")).status_code == 404
