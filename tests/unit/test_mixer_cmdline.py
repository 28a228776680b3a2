"""FFmpeg's argv is one fixed template: no accepted room can change its shape (security 4.7)."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixer.api import Marker, Mix
from mixer.cmdline import KEPT_SECONDS, Limits, Stream, argv, first_number
from mixer.files import Layout, key_uri
from mixer.sdp import sdp
from pkg import keys
from pkg.model import Epoch, ModuleId, RoomId

ROOMS = st.from_regex(rf"\A{keys.ROOM_ID_PATTERN}\Z").filter(keys.is_room_id)
EPOCHS = st.integers(min_value=1, max_value=2**33)


def stream(room: str, epoch: int) -> Stream:
    layout = Layout(Path("/media"), Path("/run"))
    private = PurePosixPath(layout.private(RoomId(room), Epoch(epoch)))
    folder = PurePosixPath(layout.folder(RoomId(room), Epoch(epoch)))
    return Stream(private / "room.sdp", private / "key-info", folder, "127.0.0.1", epoch)


@given(room=ROOMS, epoch=EPOCHS)
def test_argv_of_any_room_is_the_template_with_paths(room: str, epoch: int) -> None:
    template = argv("ffmpeg", stream("ROOM", 1))
    line = argv("ffmpeg", stream(room, epoch))
    assert len(line) == len(template)
    differs = {i for i, (a, b) in enumerate(zip(line, template, strict=True)) if a != b}
    values = ("-i", "-hls_key_info_file", "-hls_segment_filename", "-start_number")
    allowed = {template.index(option) + 1 for option in values} | {len(template) - 1}
    assert differs <= allowed
    assert all(line[i].startswith("/") or line[i].isdecimal() for i in allowed)


@given(room=ROOMS, nonce=st.text())
def test_the_key_info_file_has_no_line_of_its_callers(room: str, nonce: str) -> None:
    try:
        uri = key_uri(RoomId(room), nonce)
    except ValueError:
        return
    assert len(uri.splitlines()) == 1
    assert uri.isascii()


def test_large_epochs_print_right_and_stay_exact_in_browsers() -> None:
    line = argv("ffmpeg", stream("blue", 2**33 - 1))
    number = int(line[line.index("-start_number") + 1])
    assert number == first_number(2**33 - 1)
    assert number + 2**20 <= 2**53


def test_segments_stay_long_enough_after_they_left_the_playlist() -> None:
    line = argv("ffmpeg", stream("blue", 7))
    listed, kept = (
        int(line[line.index(option) + 1]) for option in ("-hls_list_size", "-hls_delete_threshold")
    )
    assert min(listed, kept) * 2.0 >= KEPT_SECONDS


def test_a_percent_sign_in_a_folder_is_no_pattern() -> None:
    private = PurePosixPath("/run/x")
    line = argv("f", Stream(private, private, PurePosixPath("/100%d/7"), "127.0.0.1", 7))
    assert line[line.index("-hls_segment_filename") + 1] == "/100%%d/7/s_7_%d.ts"


def test_a_relative_path_is_refused() -> None:
    path = PurePosixPath("-y")
    with pytest.raises(ValueError, match="absolute"):
        argv("f", Stream(path, path, path, "127.0.0.1", 7))


def test_limits_come_first_and_only_as_available() -> None:
    limits = Limits(prlimit="/usr/bin/prlimit", setpriv="/usr/bin/setpriv", privileged=True)
    line = argv("ffmpeg", stream("blue", 7), limits)
    assert line[0] == "/usr/bin/prlimit"
    assert line.index("--core=0") < line.index("/usr/bin/setpriv") < line.index("ffmpeg")
    assert argv("ffmpeg", stream("blue", 7), Limits())[0] == "ffmpeg"


@pytest.mark.parametrize("port", [0, -2, 30001, 65535, 65536, 70000])
def test_an_sdp_names_only_real_pairs(port: int) -> None:
    with pytest.raises(ValueError, match="even"):
        sdp("127.0.0.1", port)


@given(st.text())
def test_an_sdp_holds_only_checked_addresses(address: str) -> None:
    try:
        text = sdp(address, 30000)
    except ValueError:
        return
    assert text.count("\r\n") == 8


def test_the_key_is_in_no_repr() -> None:
    mix = Mix(RoomId("blue"), Epoch(7), 30000, "n1", b"secretsecret1234")
    assert "secret" not in repr(mix)


@pytest.mark.parametrize("missing", ["ONAIR_ROOM", "ONAIR_EPOCH", "ONAIR_RTP_PORT", "ONAIR_AFTER"])
def test_half_a_marker_is_none(missing: str) -> None:
    whole = Marker(ModuleId("m1"), RoomId("blue"), Epoch(7), 30000, -1).environment()
    assert Marker.parse({name: v for name, v in whole.items() if name != missing}) is None
