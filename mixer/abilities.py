"""Can FFmpeg be run, and do what is asked of it? Tried for real, at the start and every 5 minutes.

A package upgrade may break it, or bring one without the codecs; a room's start is a bad moment
to notice.
"""

import re
import subprocess

import anyio
import structlog

from mixer.driver import PATH

log = structlog.get_logger()

AGAIN_SECONDS = 300.0
RETRY_SECONDS = 10.0
ANSWER_SECONDS = 10.0  # it takes 0.05 s on an idle machine
LISTS = {"-encoders": ("aac",), "-decoders": ("opus",), "-demuxers": ("sdp",), "-muxers": ("hls",)}


def lacks(listing: str, names: tuple[str, ...]) -> list[str]:
    """Which of the names FFmpeg does not list (letters of abilities, name, description).

    >>> lacks(" A....D aac        AAC (Advanced Audio Coding)", ("aac", "opus"))
    ['opus']
    """
    return [n for n in names if not re.search(rf"^ +[A-Z.]+ +{n} ", listing, re.MULTILINE)]


class Abilities:
    """``trouble``: why FFmpeg cannot be used, in words; None if it can."""

    def __init__(self, ffmpeg: str) -> None:
        self._ffmpeg = ffmpeg
        self.trouble: str | None = "FFmpeg has not been tried yet"
        self.tried = anyio.Event()

    async def look(self) -> None:
        before, self.trouble = self.trouble, await self._try_all()
        if self.trouble is not None and self.trouble != before:
            log.error("ffmpeg.unfit", reason=self.trouble)
        self.tried.set()

    async def keep_looking(self) -> None:
        while True:
            await self.look()
            await anyio.sleep(AGAIN_SECONDS if self.trouble is None else RETRY_SECONDS)

    async def _try_all(self) -> str | None:
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                await self._ask("-version")
                told = {option: await self._ask(option) for option in LISTS}
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{self._ffmpeg} cannot be run: {error}"
        except TimeoutError:
            return f"{self._ffmpeg} does not answer"
        missing = [name for option, names in LISTS.items() for name in lacks(told[option], names)]
        return f"{self._ffmpeg} lacks {', '.join(missing)}: install another" if missing else None

    async def _ask(self, option: str) -> str:
        done = await anyio.run_process(
            [self._ffmpeg, "-hide_banner", option],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH},
            start_new_session=True,
        )
        return done.stdout.decode(errors="replace")
