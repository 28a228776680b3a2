"""Starts from folders as power cuts leave them: torn, zeroed, unflushed, damaged."""

import random
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pkg.errors import ConfigError
from streams.protocol.requests import Append, Create
from streams.store import check, reading
from streams.store.store import Store, open_store
from streams.wal.frames import DamagedError, frame

pytestmark = pytest.mark.anyio

TEXT = "text/plain"
BIG = b"b" * 100_000


async def put(store: Store, name: str, body: bytes = b"") -> None:
    await store.create(Create(name, TEXT, None, closed=False, fork=None, body=body))


async def post(store: Store, name: str, body: bytes) -> None:
    await store.append(Append(name, TEXT, closes=False, claim=None, seq=None, body=body))


async def content(store: Store, name: str = "a") -> bytes:
    stream = store.look(name)
    return await reading.read(store.files, stream, 0, stream.durable.tail)


@asynccontextmanager
async def reopened(root: Path, copy: Path) -> AsyncGenerator[Store]:
    """A store on a copy, so that one folder can be spoilt in many ways."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy)
    async with open_store(copy) as store:
        yield store


async def filled(root: Path) -> Path:
    """A folder with three frames in its log; answers the log."""
    async with open_store(root) as store:
        await put(store, "a", b"one,")
        await post(store, "a", b"two,")
        await post(store, "a", b"three")
    (segment,) = (root / "wal").iterdir()
    return segment


def last_frame(segment: Path) -> int:
    """Where it begins."""
    return segment.read_bytes().rfind(b"oWAL")


async def test_a_log_that_ends_anywhere_in_its_last_frame_loses_only_that(tmp_path: Path) -> None:
    root = tmp_path / "root"
    segment = await filled(root)
    whole, begin = segment.read_bytes(), last_frame(segment)
    shutil.rmtree(root / "data")
    (root / "data").mkdir()  # what was never flushed
    for end in random.Random(1).sample(range(begin, len(whole)), 8):
        for tail in (b"", bytes(300)):
            segment.write_bytes(whole[:end] + tail)
            async with reopened(root, tmp_path / "copy") as store:
                assert await content(store) == b"one,two,"
                await post(store, "a", b"more")
                assert await content(store) == b"one,two,more"
            assert check.check(tmp_path / "copy").ok


async def test_files_that_were_never_flushed_come_back_from_the_log(tmp_path: Path) -> None:
    await filled(tmp_path)
    for file in (tmp_path / "data").iterdir():
        file.unlink()
    async with open_store(tmp_path) as store:
        assert await content(store) == b"one,two,three"


async def test_damage_before_the_last_frame_is_never_passed_over(tmp_path: Path) -> None:
    segment = await filled(tmp_path)
    whole = bytearray(segment.read_bytes())
    whole[whole.find(b"two,")] ^= 1
    segment.write_bytes(whole)
    with pytest.raises(DamagedError, match="frame 2 does not hold, but frame 3"):
        async with open_store(tmp_path):
            pass
    report = check.check(tmp_path)
    assert not report.ok
    assert any("frame 2" in fault for fault in report.faults)


async def test_a_body_that_looks_like_a_frame_stops_no_start(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, "a", b"one,")
        await post(store, "a", frame(99, b"forged", 0))
    (segment,) = (tmp_path / "wal").iterdir()
    data = segment.read_bytes()
    segment.write_bytes(data[:-1])  # the frame around it is torn
    async with open_store(tmp_path) as store:
        assert await content(store) == b"one,"


async def test_a_big_body_is_not_in_the_log_and_is_proven_at_the_start(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, "a", b"one,")
        await post(store, "a", BIG)
        await post(store, "a", b"end")
    (segment,) = (tmp_path / "wal").iterdir()
    assert segment.stat().st_size < 1000
    async with reopened(tmp_path, tmp_path.parent / "good") as store:
        assert await content(store) == b"one," + BIG + b"end"
    (file,) = (tmp_path / "data").iterdir()
    with file.open("r+b") as spoilt:
        spoilt.seek(5000)
        spoilt.write(b"?")
    assert any("S2" in fault for fault in check.check(tmp_path).faults)
    with pytest.raises(DamagedError, match="damage after byte 4"):
        async with open_store(tmp_path):
            pass


async def test_a_big_body_whose_record_is_lost_is_cut_off(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, "a", b"one,")
        await post(store, "a", BIG)
    (segment,) = (tmp_path / "wal").iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    async with open_store(tmp_path) as store:
        assert await content(store) == b"one,"
    (file,) = (tmp_path / "data").iterdir()
    assert file.stat().st_size == len(b"one,")


async def test_folding_is_the_same_as_replaying(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, "a", b"one,")
        store.rotate()
        await post(store, "a", b"two,")
        await store.checkpoint()
        assert len(list((tmp_path / "wal").iterdir())) == 1
        await post(store, "a", b"three")
    async with open_store(tmp_path) as store:
        assert await content(store) == b"one,two,three"
        assert list((tmp_path / "wal").iterdir()) == []
    async with open_store(tmp_path) as store:
        assert await content(store) == b"one,two,three"


async def test_a_missing_segment_is_never_passed_over(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for number in range(3):
            await put(store, f"s{number}", b"x")
            store.rotate()
    first, second, _ = sorted((tmp_path / "wal").iterdir())
    second.unlink()
    with pytest.raises(DamagedError, match="frame 2 is missing"):
        async with open_store(tmp_path):
            pass
    first.unlink()
    with pytest.raises(DamagedError, match="frames 1 to 2 are missing"):
        async with open_store(tmp_path):
            pass


async def test_a_missing_checkpoint_does_not_make_orphans_of_everything(tmp_path: Path) -> None:
    await filled(tmp_path)
    async with open_store(tmp_path):
        pass
    (tmp_path / "meta.sqlite").unlink()
    with pytest.raises(DamagedError, match="is missing"):
        async with open_store(tmp_path):
            pass
    assert list((tmp_path / "data").iterdir())


async def test_a_spoilt_checkpoint_is_told_in_words(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "meta.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DamagedError, match="not a database"):
        async with open_store(tmp_path):
            pass
    assert any("not a database" in fault for fault in check.check(tmp_path).faults)


async def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    async with open_store(tmp_path):
        with pytest.raises(ConfigError, match="in use"):
            async with open_store(tmp_path):
                pass
        with pytest.raises(ConfigError, match="in use"):
            check.check(tmp_path)
    with pytest.raises(ConfigError, match="no data folder"):
        check.check(tmp_path.parent)
