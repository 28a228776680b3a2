"""The playlist that listeners get: our links in it, whatever the origin wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roommanager.playlist import SEAM, Links, compose, epoch_of, has_segments, joined, key_link

TEXT = """#EXTM3U
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd",IV=0x01
#EXTINF:2.000000,
s_5_7.ts
#EXT-X-ENDLIST
"""


def test_the_key_is_ours_whatever_address_was_there() -> None:
    text = compose(TEXT, Links(key_link("blue", "n")), ended=False)
    assert 'URI="../../api/rooms/blue/key?nonce=n",IV=0x01' in text
    assert "passwd" not in text
    assert "ENDLIST" not in text


@pytest.mark.parametrize("token", ['"', "a&b", "a b", "\n#EXT-X-ENDLIST", "é", "a#b", "%00"])
def test_a_token_cannot_leave_its_place(token: str) -> None:
    plain = compose(TEXT, Links(key_link("blue", "n")), ended=False).splitlines()
    lines = compose(TEXT, Links(key_link("blue", "n"), token), ended=False).splitlines()
    assert len(lines) == len(plain)
    for line in lines:
        assert line.count('"') in {0, 2}
        assert line.count("token=") <= 1


@pytest.mark.parametrize("duration", ["0", "0.000000", "", ".", "1.2.3", "0.0.0", "nan", "-1"])
def test_strange_durations_are_no_crash(duration: str) -> None:
    text = f"#EXTM3U\n#EXTINF:{duration},\ns_1_1.ts\n"
    assert has_segments(text) is (duration == "1.2.3")


@given(st.text())
def test_no_text_of_an_origin_breaks_the_composing(text: str) -> None:
    has_segments(text)
    assert compose(text, Links("k", "t"), ended=True).endswith("#EXT-X-ENDLIST\n")


@given(st.text(max_size=40))
def test_only_segment_names_have_an_epoch(name: str) -> None:
    epoch = epoch_of(name)
    assert epoch is None or name.startswith("s_")


def test_an_origin_too_old_to_count_is_taken_at_its_tags() -> None:
    """A mixer of before: all is well until an FFmpeg restart of its own scrolls out."""
    head = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n"
    first, later = f"{head}{SEAM}\n#EXTINF:2.0,\ns_5_7.ts\n", f"{head}#EXTINF:2.0,\ns_5_7.ts\n"
    assert SEAM + "\n" not in joined(first, 0, 2)
    assert "SEQUENCE:2\n" + SEAM + "\n" in joined(first, 3, 2)
    assert "DISCONTINUITY-SEQUENCE:3\n#EXTINF" in joined(later, 3, 2)
