"""Where a room's files lie, and who may read them.

Served: ``{media}/{roomId}/{epoch}/`` with playlist and segments. Never served:
``{run}/{roomId}.{epoch}/`` (0700) with the key, FFmpeg's key-info file (both 0600), SDP and log.
Calls are short and block; the driver runs the longer ones in a thread.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mixer import seams
from mixer.api import Mix
from mixer.cmdline import KEPT_SECONDS, LISTED_SECONDS, Stream, first_number
from mixer.playlist import Segment, is_silent, newest, window
from mixer.sdp import sdp
from pkg import keys
from pkg.model import Epoch, RoomId

NONCE_PATTERN = r"[A-Za-z0-9_-]{1,128}"
LOG_BYTES = 256 * 1024  # longer ones are emptied; FFmpeg appends, so it goes on at the start
LOG_TAIL_BYTES = 4096
PLAYLIST_BYTES = 256 * 1024  # 15 entries have 3 KB; a limit against reading a runaway file
STALE_SECONDS = 4 * (LISTED_SECONDS + KEPT_SECONDS)


@dataclass(frozen=True, slots=True)
class Layout:
    media: Path
    run: Path

    def folder(self, room_id: RoomId, epoch: Epoch) -> Path:
        return self.media / room_id / str(epoch)

    def playlist(self, room_id: RoomId, epoch: Epoch) -> Path:
        return self.folder(room_id, epoch) / "live.m3u8"

    def private(self, room_id: RoomId, epoch: Epoch) -> Path:
        return self.run / f"{room_id}.{epoch}"

    def log(self, room_id: RoomId, epoch: Epoch) -> Path:
        return self.private(room_id, epoch) / "log"


def key_uri(room_id: RoomId, nonce: str) -> str:
    """The key's address, relative to the public playlist ``/hls/{roomId}/live.m3u8``.

    >>> key_uri(RoomId("blue"), "n1")
    '../../api/rooms/blue/key?nonce=n1'
    """
    if not keys.is_room_id(room_id) or re.fullmatch(NONCE_PATTERN, nonce, re.ASCII) is None:
        raise ValueError("not a room id and a nonce")  # a line break would name another key file
    return f"../../api/rooms/{room_id}/key?nonce={nonce}"


def prepare(layout: Layout, mix: Mix, address: str, segment_seconds: float) -> Stream:
    """Write all that FFmpeg reads. Raises OSError, and ValueError for what must not be written."""
    if len(mix.key) != 16 or mix.epoch <= 0:
        raise ValueError("an HLS key has 16 bytes, an epoch is above 0")
    uri = key_uri(mix.room_id, mix.nonce)
    folder, private = (
        layout.folder(mix.room_id, mix.epoch),
        layout.private(mix.room_id, mix.epoch),
    )
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in private.glob("stopping.*"):
        old.unlink(missing_ok=True)
    _write(private / "key", mix.key)
    _write(private / "key-info", f"{uri}\n{private / 'key'}\n".encode())
    _write(private / "room.sdp", sdp(address, mix.port).encode())
    return Stream(
        sdp=PurePosixPath(private / "room.sdp"),
        key_info=PurePosixPath(private / "key-info"),
        folder=PurePosixPath(folder),
        address=address,
        epoch=mix.epoch,
        start_number=_begin_run(layout, mix.room_id, mix.epoch),
        segment_seconds=segment_seconds,
    )


def _write(path: Path, content: bytes) -> None:
    """Replace at once: FFmpeg reads the key-info file again for each segment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


def _begin_run(layout: Layout, room_id: RoomId, epoch: Epoch) -> int:
    """Note where this run's numbers begin; answers what to tell FFmpeg."""
    text = read_playlist(layout, room_id, epoch) or ""
    folder, known = layout.folder(room_id, epoch), runs(layout, room_id, epoch)
    listed = window(text)
    begins, start = listed.stop, first_number(epoch)  # it goes on with what begins above ``start``
    if newest(text) is None:
        layout.playlist(room_id, epoch).unlink(missing_ok=True)  # empty, or one bogus entry
        if listed and is_silent(text):
            known = tuple(number for number in known if number < listed.start)
        begins = start = _next_number(folder, epoch)
    _write(folder / seams.RUNS_FILE, seams.encode((*known, begins)))
    return start


def runs(layout: Layout, room_id: RoomId, epoch: Epoch) -> seams.Runs:
    """At which media sequence numbers FFmpeg began under this epoch."""
    try:
        text = (layout.folder(room_id, epoch) / seams.RUNS_FILE).read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    return seams.parse(text, epoch)


def seams_so_far(layout: Layout, room_id: RoomId, epoch: Epoch, text: str) -> int:
    """EXT-X-DISCONTINUITYs after the epoch's first segment; ``text``: its playlist."""
    following = window(text).stop or _next_number(layout.folder(room_id, epoch), epoch)
    return seams.seams(runs(layout, room_id, epoch), following)


def _next_number(folder: Path, epoch: Epoch) -> int:
    """Above every number already used, so that a lost playlist sets no number back (I12)."""
    used = [number for number, _ in segment_files(folder, epoch)]
    return max([first_number(epoch), *(number + 1 for number in used)])


def segment_files(folder: Path, epoch: Epoch) -> Iterator[tuple[int, Path]]:
    """Media sequence number and path of each segment on disk, also those no longer listed."""
    for path in folder.glob(f"s_{epoch}_*.ts"):
        found = re.fullmatch(r"s_[0-9]+_([0-9]{1,19})\.ts", path.name, re.ASCII)
        if found:
            yield int(found[1]), path


def newest_listed(layout: Layout, room_id: RoomId, epoch: Epoch) -> Segment | None:
    return newest(read_playlist(layout, room_id, epoch) or "")


def read_playlist(layout: Layout, room_id: RoomId, epoch: Epoch) -> str | None:
    """Its text, or None if there is none."""
    try:
        with open(layout.playlist(room_id, epoch), "rb") as file:
            return file.read(PLAYLIST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None


def is_empty(path: Path) -> bool:
    """There, and of no bytes. A segment that is gone was deleted in its turn."""
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return False


def log_tail(layout: Layout, room_id: RoomId, epoch: Epoch) -> str:
    try:
        with open(layout.log(room_id, epoch), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
            return file.read(LOG_TAIL_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""


def claim_stop(layout: Layout, room_id: RoomId, epoch: Epoch, process: str) -> bool:
    """True for the first caller only, over restarts too: a second SIGTERM empties the playlist."""
    path = layout.private(room_id, epoch) / f"stopping.{process}"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except OSError:  # no folder or no space: better a playlist cut short than a room not stopped
        return True
    return True


def list_folders(layout: Layout) -> list[tuple[RoomId, Epoch]]:
    """Every room and epoch with a served or a private folder; what is not ours is left out."""
    served = (
        (room.name, epoch.name) for room in _folders(layout.media) for epoch in _folders(room)
    )
    private = (entry.name.rpartition(".")[::2] for entry in _folders(layout.run))
    return sorted(
        {
            (RoomId(room), Epoch(int(epoch)))
            for room, epoch in (*served, *private)
            if keys.is_room_id(room) and re.fullmatch(r"[1-9][0-9]{0,18}", epoch, re.ASCII)
        }
    )


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def remove(layout: Layout, room_id: RoomId, epoch: Epoch) -> None:
    """Delete an epoch's files, and the room's folder with its last epoch."""
    forget_key(layout, room_id, epoch)
    _remove_tree(layout.folder(room_id, epoch))
    try:
        (layout.media / room_id).rmdir()
    except OSError:  # another epoch is in it, or it is gone
        return


def forget_key(layout: Layout, room_id: RoomId, epoch: Epoch) -> None:
    _remove_tree(layout.private(room_id, epoch))


def _remove_tree(path: Path) -> None:
    """All of it, also if ``trim`` deletes a file of it at the same time."""
    while path.exists():
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue


def trim(layout: Layout, room_id: RoomId, epoch: Epoch) -> None:
    """Empty an overlong log; delete segments that a killed FFmpeg never came to delete.

    FFmpeg deletes segments meanwhile, and the whole epoch may be removed.
    """
    log = layout.log(room_id, epoch)
    if (_stat(log, lambda s: s.st_size) or 0.0) > LOG_BYTES:
        os.truncate(log, 0)
    folder = layout.folder(room_id, epoch)
    text = read_playlist(layout, room_id, epoch) or ""
    looked = [(path, _stat(path, lambda s: s.st_mtime)) for _, path in segment_files(folder, epoch)]
    files = [(path, written) for path, written in looked if written is not None]
    if not files:
        return
    latest = max(written for _, written in files)  # against the newest, not against a clock
    for path, written in files:
        if latest - written > STALE_SECONDS and path.name not in text:
            path.unlink(missing_ok=True)


def _stat(path: Path, fact: Callable[[os.stat_result], float]) -> float | None:
    try:
        return fact(path.stat())
    except FileNotFoundError:
        return None
