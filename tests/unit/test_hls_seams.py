"""Every segment keeps its discontinuity number, and each seam raises it by one (RFC 8216 §6.2.2).

From FFmpeg's own file through the mixer's list of runs, its origin and the room manager, over any
sequence of crashes, lost playlists, moves to other mixers and sliding windows.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mixer import files, seams
from mixer.api import Mix
from mixer.files import Layout
from mixer.playlist import is_silent, window
from pkg.model import Epoch, RoomId
from roommanager.playlist import SEAM, joined, read

BLUE = RoomId("blue")
WINDOW = 4


class Ffmpeg:
    """Writes its playlist as FFmpeg 5.1 was seen to, also when it goes on with another's."""

    def __init__(self, layout: Layout, epoch: int) -> None:
        mix = Mix(BLUE, Epoch(epoch), 30000, "n", b"k" * 16)
        stream = files.prepare(layout, mix, "127.0.0.1", 2.0)
        self._path, self._epoch = layout.playlist(BLUE, Epoch(epoch)), epoch
        text = self._path.read_text() if self._path.exists() else ""
        self._entries = re.findall(rf"(?:{SEAM}\n)?#EXTINF:.*\n.*\n", text)
        self._next = max(stream.start_number, window(text).stop)
        self._begins = True

    def publish(self, seconds: float) -> None:
        name = f"s_{self._epoch}_{self._next}.ts"
        (self._path.parent / name).write_bytes(b"")
        tag = f"{SEAM}\n" if self._begins else ""
        self._entries = [*self._entries, f"{tag}#EXTINF:{seconds:f},\n{name}\n"][-WINDOW:]
        self._next, self._begins = self._next + 1, False
        head = f"#EXTM3U\n#EXT-X-TARGETDURATION:{round(seconds)}\n"
        first = self._next - len(self._entries)
        self._path.write_text(head + f"#EXT-X-MEDIA-SEQUENCE:{first}\n" + "".join(self._entries))


class Room:
    """One time on air, as listeners are served it; checks each playlist against all before."""

    def __init__(self, folder: Path) -> None:
        self._layout = Layout(folder / "media", folder / "run")
        self._epoch, self._seams, self._silent = 7, 0, 0
        self.numbers: dict[str, int] = {}
        self._first = -1
        self._ffmpeg = Ffmpeg(self._layout, self._epoch)

    @property
    def _text(self) -> str:
        return files.read_playlist(self._layout, BLUE, Epoch(self._epoch)) or ""

    def do(self, act: str) -> None:
        match act:
            case "publish":
                self._ffmpeg.publish(2.0)
            case "starve":
                self._ffmpeg.publish(0.0)
            case "lose" if self._text and not is_silent(self._text):
                self._layout.playlist(BLUE, Epoch(self._epoch)).write_text("")
                self._ffmpeg = Ffmpeg(self._layout, self._epoch)
            case "move":
                self._move()
            case _:
                self._ffmpeg = Ffmpeg(self._layout, self._epoch)
        self._listen()

    def _move(self) -> None:
        heard = any(name.startswith(f"s_{self._epoch}_") for name in self.numbers)
        self._silent = 0 if heard else self._silent + 1
        more = files.seams_so_far(self._layout, BLUE, Epoch(self._epoch), self._text)
        self._seams += more + 1
        self._epoch += 3
        self._ffmpeg = Ffmpeg(self._layout, self._epoch)

    def _listen(self) -> None:
        runs = files.runs(self._layout, BLUE, Epoch(self._epoch))
        media = read(seams.served(self._text, runs, 2.0), self._epoch)
        if media is None:
            return
        text = joined(media.text, self._seams, media.target)
        assert "#EXT-X-TARGETDURATION:2\n" in text
        assert window(text).start >= self._first
        self._first = window(text).start
        for name, number, tagged in numbered(text):
            self._check(name, number, tagged=tagged)

    def _check(self, name: str, number: int, *, tagged: bool) -> None:
        if name in self.numbers:
            assert self.numbers[name] == number, "for its whole life"
            return
        last = max(self.numbers.values(), default=None)
        if last is None:
            assert number >= 0
            assert self._silent or not tagged, "nothing came before the very first"
        elif tagged:
            assert last < number <= last + 1 + self._silent, "by one at each seam"
        else:
            assert number == last
        self.numbers[name] = number


def numbered(text: str) -> Iterator[tuple[str, int, bool]]:
    """Each segment with its discontinuity number, as a player counts: header, then tags."""
    told = re.search(r"^#EXT-X-DISCONTINUITY-SEQUENCE:([0-9]+)$", text, re.MULTILINE)
    assert told is not None
    number, tagged = int(told[1]), False
    for line in text.splitlines():
        if line == SEAM:
            number, tagged = number + 1, True
        elif not line.startswith("#"):
            yield line, number, tagged
            tagged = False


ACTS = st.sampled_from(["publish"] * 6 + ["starve", "crash", "crash", "lose", "move"])


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=30))
def test_a_segments_discontinuity_number_never_changes(acts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder))
        for act in acts:
            room.do(act)


def test_the_walk_reaches_what_it_is_about(tmp_path: Path) -> None:
    """Two crashes and a move, and all of it scrolls out."""
    room = Room(tmp_path)
    for again in ("crash", "publish", "crash", "move", "crash"):
        room.do("publish")
        room.do(again)
    for _ in range(2 * WINDOW):
        room.do("publish")
    assert sorted(set(room.numbers.values())) == [0, 1, 2, 3, 4]
