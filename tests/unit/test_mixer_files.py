"""A room's files, and processes as the OS shows them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixer import files, process, seams
from mixer.api import Mix
from mixer.files import LOG_BYTES, STALE_SECONDS, Layout
from pkg.model import Epoch, RoomId

ROOM, EPOCH = RoomId("blue"), Epoch(7)
MIX = Mix(ROOM, EPOCH, 30000, "n1", b"k" * 16)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "media", tmp_path / "run")
    files.prepare(found, MIX, "127.0.0.1", 2.0)
    return found


def test_only_the_first_may_send_sigterm_until_it_is_started_again(layout: Layout) -> None:
    claims = [files.claim_stop(layout, ROOM, EPOCH, "1.2") for _ in range(3)]
    assert claims == [True, False, False]
    assert files.claim_stop(layout, ROOM, EPOCH, "3.4"), "another process is another matter"
    files.prepare(layout, MIX, "127.0.0.1", 2.0)
    assert files.claim_stop(layout, ROOM, EPOCH, "1.2")


def test_strangers_folders_are_not_ours(layout: Layout) -> None:
    for name in ("media/blue/x", "media/blue/07", "media/-a/7", "run/lost+found", "run/red.9"):
        (layout.media.parent / name).mkdir(parents=True)
    (layout.media / "link").symlink_to(layout.media / "blue")
    assert files.list_folders(layout) == [(ROOM, EPOCH), (RoomId("red"), Epoch(9))]


def test_trim_bounds_the_log_and_drops_what_nobody_lists(layout: Layout) -> None:
    folder = layout.folder(ROOM, EPOCH)
    layout.log(ROOM, EPOCH).write_bytes(b"x" * (LOG_BYTES + 1))
    layout.playlist(ROOM, EPOCH).write_text("s_7_2.ts\n")
    for number, age in ((1, STALE_SECONDS + 1), (2, STALE_SECONDS + 1), (3, 0.0)):
        segment = folder / f"s_7_{number}.ts"
        segment.write_bytes(b"s")
        os.utime(segment, (1e9 - age, 1e9 - age))
    files.trim(layout, ROOM, EPOCH)
    assert layout.log(ROOM, EPOCH).stat().st_size == 0
    assert sorted(p.name for p in folder.glob("*.ts")) == ["s_7_2.ts", "s_7_3.ts"]


def test_a_zombie_is_dead_and_reaped_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.returncode = 0  # this test reaps it
    assert child.stdin is not None
    found = process.seen(child.pid)
    assert found is not None
    assert not process.is_alive(child.pid, found.started + 1), "the pid changed hands"
    child.kill()
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert process.seen(child.pid) is None
    assert process.reap(child.pid)
    assert not Path(f"/proc/{child.pid}").exists()


def test_trim_survives_that_ffmpeg_deletes_a_segment_meanwhile(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg deletes one every segment duration: in a big house some are gone when looked at."""
    folder, listed = layout.folder(ROOM, EPOCH), files.segment_files
    for number, age in ((1, 0.0), (2, STALE_SECONDS + 1), (3, 0.0)):
        segment = folder / f"s_7_{number}.ts"
        segment.write_bytes(b"s")
        os.utime(segment, (1e9 - age, 1e9 - age))

    def deleted_when_listed(of: Path, epoch: Epoch) -> Iterator[tuple[int, Path]]:
        found = sorted(listed(of, epoch))
        (folder / "s_7_1.ts").unlink()
        return iter(found)

    monkeypatch.setattr(files, "segment_files", deleted_when_listed)
    files.trim(layout, ROOM, EPOCH)
    assert [p.name for p in folder.glob("*.ts")] == ["s_7_3.ts"]


def test_trim_of_what_is_gone_is_nothing(layout: Layout) -> None:
    files.remove(layout, ROOM, EPOCH)
    files.trim(layout, ROOM, EPOCH)
    assert files.list_folders(layout) == []


def listing(first: int, *seconds: float) -> str:
    entries = "".join(f"#EXTINF:{s:f},\ns_7_{first + n}.ts\n" for n, s in enumerate(seconds))
    return f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{first}\n{entries}"


def begin(layout: Layout, text: str) -> int:
    """FFmpeg left this playlist and is started again; its seams so far, before it lists more."""
    layout.playlist(ROOM, EPOCH).write_text(text)
    files.prepare(layout, MIX, "127.0.0.1", 2.0)
    return files.seams_so_far(layout, ROOM, EPOCH, text)


def test_each_run_that_published_is_one_seam(layout: Layout) -> None:
    first = 7 * 2**20
    assert files.runs(layout, ROOM, EPOCH) == (first,)
    text = listing(first, 2.0, 2.0, 0.0)
    assert begin(layout, text) == 0, "a run that has published nothing is no seam yet"
    assert begin(layout, text) == 0, "nor are two of them"
    assert files.runs(layout, ROOM, EPOCH) == (first, first + 3), "FFmpeg counts bogus ones, too"
    assert begin(layout, listing(first + 2, 0.0, 2.0)) == 1
    assert files.runs(layout, ROOM, EPOCH) == (first, first + 3, first + 4)


def test_a_lost_playlist_is_a_seam_and_a_silent_one_was_never_there(layout: Layout) -> None:
    first, folder = 7 * 2**20, layout.folder(ROOM, EPOCH)
    (folder / f"s_7_{first}.ts").write_bytes(b"")
    begin(layout, listing(first, 0.0))
    assert files.runs(layout, ROOM, EPOCH) == (first + 1,), "of the first run nobody has heard"
    (folder / f"s_7_{first + 1}.ts").write_bytes(b"sound")
    begin(layout, "")
    assert files.runs(layout, ROOM, EPOCH) == (first + 1, first + 2)
    assert files.seams_so_far(layout, ROOM, EPOCH, "") == 0, "the second has published nothing"


def test_the_list_of_runs_stays_as_long_as_the_playlist(layout: Layout) -> None:
    files.forget_key(layout, ROOM, EPOCH)
    layout.playlist(ROOM, EPOCH).write_text("")
    (layout.folder(ROOM, EPOCH) / seams.RUNS_FILE).write_text("7340032\nx\n7340040\n\n")
    assert files.runs(layout, ROOM, EPOCH) == (7340032, 7340040)
    files.remove(layout, ROOM, EPOCH)
    assert not layout.folder(ROOM, EPOCH).exists()
