"""FFmpeg's command line for one room: Opus over RTP in, AES-128 HLS out. Pure.

Every value is ours: integers, checked addresses, absolute paths (which FFmpeg cannot take for an
option or a URL). The key is never here, for argv can be read by everyone: FFmpeg reads it through
the key-info file. No ``-progress``: such a file grows by 330 bytes/s for ever (FFmpeg does not
append, so truncating only makes it sparse), and the playlist says the same 2 s later.

>>> stream = Stream(
...     sdp=PurePosixPath("/run/blue.7/room.sdp"), key_info=PurePosixPath("/run/blue.7/key-info"),
...     folder=PurePosixPath("/media/blue/7"), address="127.0.0.1", epoch=7)
>>> line = argv("ffmpeg", stream)
>>> line[0], line[line.index("-i") + 1], line[-1]
('ffmpeg', '/run/blue.7/room.sdp', '/media/blue/7/live.m3u8')
>>> line[line.index("-hls_segment_filename") + 1], line[line.index("-start_number") + 1]
('/media/blue/7/s_7_%d.ts', '7340032')
"""

import math
from dataclasses import dataclass
from pathlib import PurePosixPath

SEQUENCES_PER_EPOCH = 2**20  # 24 days of 2 s segments; hls.js counts safely to epoch 2**33
LISTED_SECONDS = 30.0  # window of the playlist
KEPT_SECONDS = 30.0  # a segment stays at least this long on disk after it left the playlist
LISTEN_SECONDS = 30  # FFmpeg ends by itself when RTP stays away longer: outlives a Janus failover

HLS_FLAGS = (
    "periodic_rekey",  # a fresh IV for each segment, and the key-info file read again for each
    "independent_segments",
    "program_date_time",
    "temp_file",
    "omit_endlist",  # the room manager ends the playlist, when the room is ended on purpose
    "delete_segments",
    "append_list",  # goes on after a crash, with EXT-X-DISCONTINUITY; discont_start adds nothing
)


@dataclass(frozen=True, slots=True)
class Stream:
    """``start_number`` is where numbering begins if there is no playlist to go on with."""

    sdp: PurePosixPath
    key_info: PurePosixPath
    folder: PurePosixPath
    address: str
    epoch: int
    start_number: int = 0
    segment_seconds: float = 2.0
    bitrate_kbps: int = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What confines each FFmpeg; a tool that the machine lacks (None) is left out."""

    prlimit: str | None = None
    setpriv: str | None = None
    privileged: bool = False  # only root may drop the bounding set
    open_files: int = 64  # 12 are used
    file_bytes: int = 16 * 2**20  # a segment has 20 KB; also the last bound on the log
    memory_bytes: int = 2**30  # address space; 270 MB are used


def first_number(epoch: int) -> int:
    """Media sequence numbers rise over epochs, whatever host serves them (I12).

    An epoch of more segments than that runs on into the numbers of later revisions, which are not
    this room's unless etcd wrote less than once in all that time (docs/decisions/0005).

    >>> first_number(123456789)
    129453825982464
    """
    return epoch * SEQUENCES_PER_EPOCH


def argv(ffmpeg: str, stream: Stream, limits: Limits | None = None) -> list[str]:
    """Raises ValueError for a path that is not absolute."""
    for path in (stream.sdp, stream.key_info, stream.folder):
        if not path.is_absolute():
            raise ValueError(f"not an absolute path: {path}")
    confined = confinement(limits) if limits else []
    return [*confined, ffmpeg, *_process(), *_source(stream), *_encoder(stream), *_hls(stream)]


def confinement(limits: Limits) -> list[str]:
    """Commands that replace themselves (same pid), so that FFmpeg starts with less (§4.7).

    As root, only ``dac_override`` is left: the media folder may lie in somebody's home.

    >>> confinement(Limits(setpriv="/usr/bin/setpriv"))
    ['/usr/bin/setpriv', '--no-new-privs', '--']
    """
    line: list[str] = []
    if limits.prlimit:
        bounds = {
            "nofile": limits.open_files,
            "fsize": limits.file_bytes,
            "as": limits.memory_bytes,
            "core": 0,
        }
        line += [limits.prlimit, *(f"--{name}={value}" for name, value in bounds.items()), "--"]
    if limits.setpriv:
        drop = ["--bounding-set=-all,+dac_override"] if limits.privileged else []
        line += [limits.setpriv, "--no-new-privs", *drop, "--"]
    return line


def _process() -> list[str]:
    return [
        *("-nostdin", "-hide_banner", "-nostats"),
        *("-loglevel", "warning"),
        *("-threads", "1", "-filter_threads", "1"),
    ]


def _source(stream: Stream) -> list[str]:
    return [
        *("-protocol_whitelist", "file,udp,rtp,crypto,data"),
        *("-fflags", "+nobuffer", "-flags", "low_delay"),
        *("-probesize", "32", "-analyzeduration", "0", "-max_delay", "0"),
        # these two survive an RTP source that restarts with another SSRC and clock
        *("-reorder_queue_size", "0", "-use_wallclock_as_timestamps", "1"),
        *("-localaddr", stream.address),
        *("-listen_timeout", str(LISTEN_SECONDS)),
        *("-i", str(stream.sdp)),
    ]


def _encoder(stream: Stream) -> list[str]:
    return [
        *("-af", "aresample=async=1:min_hard_comp=0.1:first_pts=0"),
        *("-c:a", "aac", "-b:a", f"{stream.bitrate_kbps}k", "-ac", "1", "-threads", "1"),
    ]


def _hls(stream: Stream) -> list[str]:
    listed = math.ceil(LISTED_SECONDS / stream.segment_seconds)
    # FFmpeg keeps the fewer of: as many seconds as it lists, and this many segments
    kept = math.ceil(KEPT_SECONDS / stream.segment_seconds) + 1
    folder = str(stream.folder).replace("%", "%%")  # the name is a pattern
    return [
        *("-f", "hls", "-hls_time", f"{stream.segment_seconds:g}"),
        *("-hls_list_size", str(listed), "-hls_delete_threshold", str(kept)),
        *("-start_number", str(stream.start_number or first_number(stream.epoch))),
        *("-hls_key_info_file", str(stream.key_info)),
        *("-hls_flags", "+".join(HLS_FLAGS)),
        *("-hls_segment_filename", f"{folder}/s_{stream.epoch}_%d.ts"),
        str(stream.folder / "live.m3u8"),
    ]
