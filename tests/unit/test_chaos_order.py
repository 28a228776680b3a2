"""What the player holds against a row of playlists (I12), and what it would fetch next."""

import pytest

from chaos.order import OrderBook
from chaos.playback import next_entry
from chaos.playlist import NoPlaylistError, Served, parse
from tests.support.served import WALL, playlist


def told(*texts: str) -> list[str]:
    """What is wrong with the last of them."""
    book = OrderBook()
    wrong: list[str] = []
    for text in texts:
        wrong = book.read(parse(text))
    return wrong


def test_a_sliding_window_and_a_new_epoch_behind_a_seam_are_in_order() -> None:
    assert told(playlist([5, 6, 7]), playlist([6, 7, 8])) == []
    seam = playlist([9, 10], seam_before=9)
    assert told(playlist([7, 8]), seam, playlist([10, 11], seams=1)) == []
    assert told(playlist([7, 8]), playlist([100, 101], epoch=2, seam_before=100)) == []
    assert told(playlist([7, 8]), playlist([100, 101], epoch=2, seams=1)) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (playlist([7, 8]), playlist([6, 7, 8]), "media sequence went back from 7 to 6"),
        (playlist([7, 8]), playlist([7]), "newest segment went back from 8 to 7"),
        (playlist([7, 8]), playlist([7, 8], target=3), "target duration changed from 2 to 3"),
        (playlist([7, 8]) + "#EXT-X-ENDLIST\n", playlist([7, 8, 9]), "an ended playlist went on"),
        (playlist([7, 8]), playlist([7, 8], epoch=2), "segment 7 was s_1_7.ts, is s_2_7.ts"),
        (playlist([7, 8]), playlist([7, 8], seams=1), "discontinuity sequence of segment 7 was 0"),
        (
            playlist([7, 8], seam_before=8),
            playlist([8, 9]),
            "discontinuity sequence of segment 8 was 1, is 0",
        ),
        (
            playlist([7, 8]),
            playlist([7, 8, 9]).replace("s_1_9", "s_1_8"),
            "s_1_8.ts was segment 8, is 9",
        ),
        (
            playlist([7, 8]),
            playlist([100], epoch=2),
            "from s_1_8.ts to s_2_100.ts the discontinuity sequence did not rise (0, then 0)",
        ),
    ],
)
def test_each_violation_of_order_is_told(before: str, after: str, words: str) -> None:
    assert any(words in line for line in told(before, after)), told(before, after)


@pytest.mark.parametrize(
    "text", ["", "<html>", "#EXTM3U\n#EXTINF:2,\ns.ts", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n"]
)
def test_what_is_no_playlist_is_refused(text: str) -> None:
    with pytest.raises(NoPlaylistError):
        parse(text)


def served(text: str) -> Served:
    return parse(text)


def test_it_starts_three_targets_behind_the_edge_and_goes_on_number_by_number() -> None:
    listed = served(playlist(range(10, 20)))
    first = next_entry(listed, None, ())
    assert first is not None
    assert first.number == 17
    second = next_entry(listed, first, ())
    assert second is not None
    assert second.number == 18
    assert next_entry(served(playlist([17])), first, ()) is None
    lost = next_entry(listed, first, {18})
    assert lost is not None
    assert lost.number == 19


def test_after_a_jump_it_goes_on_where_it_stood_by_date() -> None:
    """A new mixer that ran beside the old one for 4 s: those 4 s are not heard twice."""
    last = served(playlist([17, 18])).entries[-1]
    beside = served(playlist(range(100, 104), epoch=2, seams=1, begun=WALL - 2 * 83))
    found = next_entry(beside, last, ())
    assert found is not None
    assert (found.number, found.at) == (102, last.end)
    later = served(playlist([100, 101], epoch=2, seams=1, begun=WALL))
    found = next_entry(later, last, ())
    assert found is not None
    assert found.number == 100
    older = served(playlist([100, 101], epoch=2, seams=1, begun=WALL - 2 * 100))
    assert next_entry(older, last, ()) is None
