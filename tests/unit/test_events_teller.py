"""The rooms' history is whole, in order and without doubles, whatever the stream server does."""

from pathlib import Path

import anyio
import httpx
import pytest
import structlog

from pkg.events.records import HostJoined
from pkg.model import RoomId
from tests.support.fake_streams import FakeStreams
from tests.support.telling import House, event, files, written
from tests.support.virtual import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "spool")


async def test_each_event_is_told_once_in_order_to_its_rooms_stream(house: House) -> None:
    async with house.telling() as teller:
        for number in range(50):
            teller.tell(event(number, "blue" if number % 2 else "red"))
        await until(lambda: len(house.told("blue")) + len(house.told("red")) == 50)
    assert house.told("blue") == list(range(1, 50, 2))
    assert house.told("red") == list(range(0, 50, 2))
    first = house.streams.told("red")[0]
    assert {name: first[name] for name in ("type", "roomId", "at", "by")} == {
        "type": "room.degraded",
        "roomId": "red",
        "at": "T",
        "by": "mixer/m1",
    }
    assert house.streams.streams["/v1/stream/rooms/red"].config == ("application/json", "2592000")
    assert files(house.folder) == []  # nothing is kept that was sent


async def test_telling_waits_for_nobody(house: House) -> None:
    house.streams.slow_seconds = 3600
    async with house.telling() as teller:
        began = anyio.current_time()
        teller.tell(event(1))
        teller.tell(event(2))
        assert anyio.current_time() == began
        assert house.streams.asked == 0


@pytest.mark.parametrize("weather", ["away", "sick"])
async def test_an_outage_loses_nothing_and_is_said_once(house: House, weather: str) -> None:
    house.streams.weather = lambda: weather
    with structlog.testing.capture_logs() as logs:
        async with house.telling() as teller:
            for number in range(20):
                teller.tell(event(number, f"r{number % 4}"))
            await anyio.sleep(600)
            tries = house.streams.asked
            house.streams.weather = lambda: ""
            await until(lambda: sum(len(house.told(f"r{n}")) for n in range(4)) == 20, within=60)
    assert [house.told(f"r{n}") for n in range(4)] == [list(range(n, 20, 4)) for n in range(4)]
    assert tries < 4 * 600  # no oftener than a room a second
    said = [line["event"] for line in logs]
    assert said.count("streams.away") <= 11
    assert said.count("streams.back") == 1


async def test_an_answer_that_was_lost_makes_no_double(house: House) -> None:
    weather = iter(["", "lost", "lost", "", "lost"] + [""] * 99)
    house.streams.weather = lambda: next(weather)
    async with house.telling() as teller:
        for number in range(5):
            teller.tell(event(number))
        await until(lambda: len(house.told()) >= 5, within=60)
        await anyio.sleep(60)
    assert house.told() == [0, 1, 2, 3, 4]


async def test_what_is_left_is_sent_after_a_restart(house: House) -> None:
    house.streams.weather = lambda: "away"
    async with house.telling() as teller:
        teller.tell(event(1))
        teller.tell(event(2))
    assert len(files(house.folder)) == 1
    house.streams.weather = lambda: ""
    async with house.telling() as teller:
        teller.tell(event(3))
        await until(lambda: len(house.told()) == 3)
    assert house.told() == [1, 2, 3]
    assert files(house.folder) == []


async def test_several_restarts_in_one_outage_keep_the_order(house: House) -> None:
    house.streams.weather = lambda: "away"
    for number in range(4):
        async with house.telling() as teller:
            teller.tell(event(number))
    assert len(files(house.folder)) == 4
    house.streams.weather = lambda: ""
    async with house.telling():
        await until(lambda: len(house.told()) == 4)
    assert house.told() == [0, 1, 2, 3]


async def test_two_daemons_of_one_name_do_not_send_the_same(house: House) -> None:
    house.streams.weather = lambda: "away"
    async with house.telling() as one:
        one.tell(event(1))
        await written(house.folder, 1)
        async with house.telling() as two:
            assert two.left == 0
            house.streams.weather = lambda: ""
            await until(lambda: house.told() == [1], within=60)
        assert house.streams.streams["/v1/stream/rooms/blue"].messages == house.streams.told("blue")
    assert files(house.folder) == []


async def test_a_killed_daemon_loses_nothing_that_was_written(house: House) -> None:
    house.streams.weather = lambda: "away"
    async with house.telling() as teller:
        teller.tell(event(1))
        teller.tell(event(2))
        await written(house.folder, 2)
        assert house.kill() == {("blue", 1), ("blue", 2)}
    house.streams.weather = lambda: ""
    async with house.telling():
        await until(lambda: len(house.told()) == 2)
    assert house.told() == [1, 2]


async def test_what_was_sent_before_the_kill_is_not_told_twice(house: House) -> None:
    async with house.telling() as teller:
        teller.tell(event(1))
        await written(house.folder, 1)
        await until(lambda: house.told() == [1])
        assert house.kill() == {("blue", 1)}
    async with house.telling() as teller:
        teller.tell(event(2))
        await until(lambda: len(house.told()) >= 2)
    assert house.told() == [1, 2]
    assert files(house.folder) == []


async def test_a_full_spool_drops_the_oldest_and_says_so_in_the_stream(house: House) -> None:
    house.bound, house.streams.weather = 8 * 1024, lambda: "away"
    with structlog.testing.capture_logs() as logs:
        async with house.telling() as teller:
            for number in range(500):
                teller.tell(event(number))
            await written(house.folder, 499)
    assert sum(path.stat().st_size for path in files(house.folder)) < 10 * 1024
    dropped = sum(line["count"] for line in logs if line["event"] == "events.dropped")
    house.streams.weather = lambda: ""
    async with house.telling():
        await until(lambda: 499 in house.told())
    gap, *rest = house.streams.told("blue")
    assert (gap["type"], gap["by"]) == ("events.dropped", "mixer/m1")
    assert [message["epoch"] for message in rest] == list(range(gap["count"], 500))
    assert dropped >= gap["count"] > 400  # what was dropped of a gap is counted again in the log


async def test_a_server_that_was_emptied_gets_again_what_is_here_still(house: House) -> None:
    async with house.telling() as teller:
        teller.tell(event(1))
        teller.tell(event(2))
        await until(lambda: len(house.told()) == 2)
        house.streams.streams.clear()
        teller.tell(event(3))
        await until(lambda: len(house.told()) == 3, within=60)
    assert house.told() == [1, 2, 3]


async def test_a_producer_that_was_outbid_goes_on_after_a_restart_too(house: House) -> None:
    async with house.telling() as teller:
        teller.tell(event(1))
        await until(lambda: len(house.told()) == 1)
        producers = house.streams.streams["/v1/stream/rooms/blue"].producers
        (mine,) = producers
        producers[mine] = (6, 0)
        teller.tell(event(2))
        await until(lambda: len(house.told()) == 2, within=60)
        assert producers[mine] == (7, 0)
        teller.tell(event(3))
        await written(house.folder, 3)
        await until(lambda: len(house.told()) == 3)
        house.kill()
    with structlog.testing.capture_logs() as logs:
        async with house.telling() as teller:
            teller.tell(event(4))
            await until(lambda: len(house.told()) == 4, within=60)
    assert house.told() == [1, 2, 3, 4]
    assert not [line for line in logs if line["event"].startswith("events.")]


async def test_a_stream_that_was_closed_holds_up_no_other(house: House) -> None:
    async with house.telling() as teller:
        teller.tell(event(1))
        await until(lambda: len(house.told()) == 1)
        house.streams.streams["/v1/stream/rooms/blue"].closed = True
        with structlog.testing.capture_logs() as logs:
            teller.tell(event(2))
            teller.tell(event(3, "red"))
            await until(lambda: house.told("red") == [3])
            await anyio.sleep(60)
    assert [line["why"] for line in logs if line["event"] == "events.refused"] == [
        "answered 409, the stream is closed"
    ]
    assert house.told() == [1]
    assert files(house.folder) == []


async def test_credentials_that_are_refused_lose_nothing(tmp_path: Path) -> None:
    """401 and 403 without an epoch: an operator's to mend, and then all is told."""
    house, answers = House(tmp_path / "spool"), iter([401, 403])
    fine = FakeStreams()

    async def guarded(request: httpx.Request) -> httpx.Response:
        status = next(answers, None)
        return httpx.Response(status) if status else await fine.handle(request)

    async with house.telling(httpx.AsyncClient(transport=httpx.MockTransport(guarded))) as teller:
        teller.tell(event(1))
        await until(lambda: len(fine.told("blue")) == 1, within=60)


async def test_odd_texts_are_told_as_far_as_json_goes(house: House) -> None:
    async with house.telling() as teller:
        teller.tell(HostJoined(room_id=RoomId("blue"), user_id="a\ud800\n\u2028" + "é" * 2000))
        await until(lambda: len(house.streams.told("blue")) == 1)
    (told,) = house.streams.told("blue")
    assert told["userId"] == "a?\n\u2028" + "é" * 496


async def test_a_disk_that_is_full_costs_only_what_a_crash_would(house: House) -> None:
    async with house.telling() as teller:
        house.folder.rename(house.folder.with_name("elsewhere"))  # no file can be begun
        with structlog.testing.capture_logs() as logs:
            teller.tell(event(1))
            await until(lambda: house.told() == [1])
            while "spool.unwritten" not in [line["event"] for line in logs]:
                await anyio.sleep(0.01)  # no deadline: a thread's time is real
        house.streams.weather = lambda: "away"
        teller.tell(event(2))
        house.folder.with_name("elsewhere").rename(house.folder)
        await written(house.folder, 2)
    house.streams.weather = lambda: ""
    async with house.telling():
        await until(lambda: len(house.told()) == 2)
    assert house.told() == [1, 2]
