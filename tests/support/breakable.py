"""An FFmpeg that ends at once on the mixers that are told so, and counts its starts."""

from pathlib import Path

SCRIPT = """#!/bin/sh
if [ -n "$ONAIR_MIXER" ]; then
  echo start >> "{folder}/$ONAIR_MIXER.starts"
  [ ! -e "{folder}/$ONAIR_MIXER.broken" ] || exit 1
fi
exec ffmpeg "$@"
"""


class Breakable:
    """``path`` is for ONAIR_MIXER_FFMPEG; the mixer's id is in the child's environment."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.path = folder / "ffmpeg"
        self.path.write_text(SCRIPT.format(folder=folder))
        self.path.chmod(0o755)

    def break_at(self, mixer_id: str) -> None:
        (self._folder / f"{mixer_id}.broken").touch()

    def mend_at(self, mixer_id: str) -> None:
        (self._folder / f"{mixer_id}.broken").unlink()

    def starts_at(self, mixer_id: str) -> int:
        """How often it was started there so far."""
        path = self._folder / f"{mixer_id}.starts"
        return len(path.read_text().splitlines()) if path.exists() else 0
