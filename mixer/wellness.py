"""Is this media node fit for more rooms? The reason it is not goes into the heartbeat."""

import os
import shutil

from mixer.config import Config

FREE_BYTES = 200 * 2**20
FREE_INODES = 1000


def trouble(config: Config) -> str | None:
    """Look at the parts FFmpeg needs; None if all is well. Blocks for a moment."""
    if shutil.which(config.mixer_ffmpeg) is None:
        return f"there is no program {config.mixer_ffmpeg}"
    for folder in (config.mixer_media_dir, config.mixer_run_dir):
        try:
            space = os.statvfs(folder)
        except OSError as error:
            return f"{folder}: {error.strerror}"
        if not os.access(folder, os.W_OK):
            return f"{folder} cannot be written"
        if space.f_bavail * space.f_frsize < FREE_BYTES:
            return f"{folder} has less than {FREE_BYTES // 2**20} MiB free"
        if space.f_files and space.f_favail < FREE_INODES:
            return f"{folder} has less than {FREE_INODES} inodes free"
    return None
