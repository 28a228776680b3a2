"""An etcd that is not the one we knew: refused by both implementations, until it is accepted."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import NoneType

import anyio
import pytest

from pkg.errors import ConfigError
from pkg.etcd.api import Etcd, Put, UnavailableError, commit
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.etcd.memory import MemoryEtcd, MemoryStore
from pkg.etcd.seen import ForeignError, Seen
from tests.support.etcd import IN_CONTAINER, EtcdServer, loop_for
from tests.support.proxy import Proxy, proxied

pytestmark = pytest.mark.anyio
PATIENCE_SECONDS = 40.0  # a broken watch is noticed by grpc's pings at the latest, in 12 s
REAL = [] if IN_CONTAINER else [pytest.param("etcd-3.4", marks=pytest.mark.etcd)]


@pytest.fixture(params=["memory-trio", *REAL])
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(world: str) -> object:
    return loop_for(world)


class Stage:
    """One address, behind which etcd can be exchanged."""

    def __init__(self, connect: Callable[[Seen], Etcd]) -> None:
        self.connect = connect
        self.empty: Callable[[], Awaitable[None]]
        self.replace: Callable[[], Awaitable[None]]
        self.put_back: Callable[[], Awaitable[None]]
        self.there: Callable[[], Awaitable[int]]  # how many keys whoever answers there has


def in_memory() -> Stage:
    ours, clients = MemoryStore(), list[MemoryEtcd]()

    def connect(seen: Seen) -> Etcd:
        clients.append(MemoryEtcd(ours, seen=seen))
        return clients[-1]

    async def exchange(store: MemoryStore) -> None:
        for client in clients:
            client.store = store
            client.cut_watches()

    async def there() -> int:
        return len(list(clients[-1].store.under("")))

    stage = Stage(connect)
    stage.empty = lambda: exchange(MemoryStore())
    stage.replace = lambda: exchange(_advanced(MemoryStore(2)))
    stage.put_back = lambda: exchange(ours)
    stage.there = there
    return stage


def _advanced(store: MemoryStore) -> MemoryStore:
    store.revision = 1000
    return store


@contextmanager
def of_real_etcds(proxy: Proxy, ours: EtcdServer, another: EtcdServer) -> Iterator[Stage]:
    clients = list[EtcdClient]()

    def connect(seen: Seen) -> Etcd:
        clients.append(EtcdClient(EtcdOptions(endpoints=[proxy.url]), seen))
        return clients[-1]

    async def exchange(port: int) -> None:
        proxy.port = port
        proxy.cut()

    async def empty() -> None:
        """The same flags make the same cluster id: only the revision tells."""
        ours.wipe()

    async def there() -> int:
        options = EtcdOptions(endpoints=[f"http://127.0.0.1:{proxy.port}"])
        async with closing(EtcdClient(options)) as direct:
            return len((await direct.range("/")).kvs)

    stage = Stage(connect)
    stage.empty = empty
    stage.replace = lambda: exchange(another.port)
    stage.put_back = lambda: exchange(ours.port)
    stage.there = there
    yield stage


@asynccontextmanager
async def closing(client: EtcdClient) -> AsyncGenerator[EtcdClient]:
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def stage(world: str, anyio_backend: object) -> AsyncGenerator[Stage]:
    if world.startswith("memory"):
        yield in_memory()
        return
    with ExitStack() as servers:
        ours, another = (servers.enter_context(EtcdServer()) for _ in range(2))
        async with proxied(ours.port) as proxy:
            with of_real_etcds(proxy, ours, another) as made:
                yield made


async def every_call(etcd: Etcd, lease: int) -> list[BaseException | None]:
    """What each verb raises."""

    async def watching() -> None:
        async with etcd.watch("/", since=None):
            pass

    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: etcd.get("/k"),
        lambda: etcd.range("/"),
        lambda: etcd.txn([], [Put("/stray", b"")]),
        lambda: etcd.grant(10),
        lambda: etcd.keep_alive(lease),
        lambda: etcd.revoke(lease),
        watching,
        etcd.status,
    ]
    return [await _error(call) for call in calls]


async def _error(call: Callable[[], Awaitable[object]]) -> BaseException | None:
    try:
        await call()
    except UnavailableError as error:
        return error
    return None


async def settled(etcd: Etcd, answer: type[ForeignError | None]) -> None:
    """Until the exchange is noticed: connections take a moment to break and to be made."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while type(await _error(lambda: etcd.get("/k"))) is not answer:
            await anyio.sleep(0.05)


@pytest.mark.parametrize("how", ["empty", "replace"])
async def test_nothing_is_read_or_written_there(stage: Stage, how: str, tmp_path: Path) -> None:
    file = tmp_path / "seen"
    etcd = stage.connect(Seen(file))
    lease = await etcd.grant(60)
    for n in range(5):
        await commit(etcd, [], [Put("/k", b"%d" % n)])
    async with etcd.watch("/", since=None) as batches:
        await getattr(stage, how)()
        with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(UnavailableError):
            async for _ in batches:
                pass
    await settled(etcd, ForeignError)
    errors = await every_call(etcd, lease)
    assert [type(error) for error in errors] == [ForeignError] * 8
    assert all(f"delete {file}" in str(error) for error in errors)
    assert await stage.there() == 0
    await etcd.aclose()


async def test_the_file_outlives_the_process_and_is_what_is_deleted_to_accept(
    stage: Stage, tmp_path: Path
) -> None:
    file, first = tmp_path / "seen", Seen(tmp_path / "seen")
    etcd = stage.connect(first)
    await commit(etcd, [], [Put("/k", b"")])
    first.save()
    await etcd.aclose()
    await stage.replace()
    etcd = stage.connect(Seen(file))
    if isinstance(etcd, MemoryEtcd):
        await stage.replace()
    with pytest.raises(ForeignError):
        await etcd.txn([], [Put("/stray", b"")])
    assert await stage.there() == 0
    file.unlink()
    await commit(etcd, [], [Put("/ours-now", b"")])
    assert await stage.there() == 1
    await etcd.aclose()


async def test_it_goes_on_by_itself_once_the_old_one_is_back(stage: Stage, tmp_path: Path) -> None:
    etcd = stage.connect(Seen(tmp_path / "seen"))
    revision = await commit(etcd, [], [Put("/k", b"kept")])
    await stage.replace()
    await settled(etcd, ForeignError)
    await stage.put_back()
    await settled(etcd, NoneType)
    found = await etcd.get("/k")
    assert found is not None
    assert (found.value, found.mod_revision) == (b"kept", revision)
    await etcd.aclose()


async def test_without_a_file_a_restart_accepts(stage: Stage) -> None:
    etcd = stage.connect(Seen())
    await commit(etcd, [], [Put("/k", b"")])
    await stage.replace()
    await settled(etcd, ForeignError)
    with pytest.raises(ForeignError, match="restart this daemon"):
        await etcd.get("/k")
    await etcd.aclose()
    again = stage.connect(Seen())
    await again.get("/k")
    await again.aclose()


@pytest.mark.parametrize("text", ["", "[]", '{"clusterId": "x", "revision": 1}', '{"revision": 1}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "seen").write_text(text)
    with pytest.raises(ConfigError, match=r"ONAIR_ETCD_SEEN_FILE: \S+seen is damaged"):
        Seen(tmp_path / "seen")
    with pytest.raises(ConfigError, match="is no folder"):
        Seen(tmp_path / "nowhere" / "seen")


def test_a_disk_that_fails_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    seen = Seen(folder / "seen")
    seen.judge(7, 5, 0)
    folder.rmdir()
    seen.save()
    with pytest.raises(ForeignError, match="restart this daemon"):
        seen.judge(8, 9, 0)
    folder.mkdir()
    seen.save()
    assert json.loads((folder / "seen").read_text()) == {"clusterId": "7", "revision": 5}
    assert [path.name for path in folder.iterdir()] == ["seen"]


def test_an_answer_to_an_older_question_may_be_older(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "seen")
    seen.judge(7, 5, 0)
    floor = seen.floor
    seen.judge(7, 9, floor)
    seen.judge(7, 6, floor)
    assert seen.floor == 9
    seen.note(12)
    with pytest.raises(ForeignError, match="went back from revision 12 to 11"):
        seen.judge(7, 11, seen.floor)
