"""Is this the etcd we knew? Its cluster id and the highest revision seen, kept on disk.

An etcd that was restored, emptied, or is another's must not be believed: everything on air would
look unwanted. Both implementations of ``api.Etcd`` ask ``judge`` about every answer; ``wiring``
runs ``keep``. Of etcd's state only this stands outside etcd (style.md, idea 1).
"""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.to_thread
import structlog

from pkg.errors import ConfigError
from pkg.etcd.api import UnavailableError

log = structlog.get_logger()

SAVE_SECONDS = 3.0


class ForeignError(UnavailableError):
    """Another cluster, or one that went back: nothing of it is believed, nothing written to it."""


@dataclass(frozen=True, slots=True)
class Mark:
    cluster_id: int
    revision: int


class Seen:
    """``path`` None: compared while the process lives only. Raises ConfigError."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._mark = self._stored = None if path is None else _read(path)

    @property
    def floor(self) -> int:
        """What every linearizable answer to a request sent from now on stands at, at least."""
        return self._mark.revision if self._mark else 0

    def judge(self, cluster_id: int, revision: int, floor: int) -> None:
        """Believe an answer, or raise ForeignError. ``floor``: as it was when the call was sent.

        Once the operator has deleted the file, whichever etcd answers next is ours.
        """
        mark = self._mark
        if mark is None:
            self._mark = Mark(cluster_id, revision)
        elif self._is_accepted(mark, cluster_id, revision, floor):
            self._mark, self._stored = Mark(cluster_id, revision), None
            log.warning("etcd.accepted", cluster=f"{cluster_id:x}", revision=revision)
        elif cluster_id != mark.cluster_id:
            self._refuse(
                f"another etcd: cluster {cluster_id:x}, not {mark.cluster_id:x}",
                "Check the endpoints; to accept it",
            )
        elif revision < floor:
            self._refuse(
                f"etcd went back from revision {floor} to {revision}: it was restored from an "
                "older state, or emptied",
                "Restore it with `etcdutl snapshot restore --bump-revision 1000000000 "
                "--mark-compacted`; to accept it as it is",
            )
        else:
            self.note(revision)

    def note(self, revision: int) -> None:
        """A revision that a watch of the judged cluster has told."""
        if self._mark and revision > self._mark.revision:
            self._mark = Mark(self._mark.cluster_id, revision)

    def _is_accepted(self, mark: Mark, cluster_id: int, revision: int, floor: int) -> bool:
        """The file is looked at only for an answer that would be refused."""
        if self._path is None or self._stored is None:
            return False
        refused = cluster_id != mark.cluster_id or revision < floor
        return refused and not self._path.exists()

    def _refuse(self, what: str, advice: str) -> NoReturn:
        """Saves first, so that there is a file to delete."""
        self.save()
        way = f"delete {self._path}" if self._stored else "restart this daemon"
        raise ForeignError(
            f"{what}. Nothing of it is believed, what is on air stays. {advice}, {way}"
        )

    # -- the file ----------------------------------------------------------------------------

    async def keep(self) -> None:
        """Save what is new, every few seconds, for ever; off the loop, for disks can be slow."""
        while self._path is not None:
            await anyio.to_thread.run_sync(self.save)
            await anyio.sleep(SAVE_SECONDS)

    def save(self) -> None:
        """A disk that cannot take it is no reason to stop: what it held before is still true."""
        mark = self._mark
        if self._path is None or mark is None or mark == self._stored:
            return
        try:
            _write(self._path, mark)
        except OSError as error:
            log.warning("seen.unsaved", path=str(self._path), error=error.strerror)
        else:
            self._stored = mark


def _read(path: Path) -> Mark | None:
    """None if there is no file yet. Raises ConfigError."""
    if not path.parent.is_dir():
        raise ConfigError(f"ONAIR_ETCD_SEEN_FILE: {path.parent} is no folder; make it")
    try:
        found = json.loads(path.read_bytes())
        return Mark(int(found["clusterId"], 16), int(found["revision"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"ONAIR_ETCD_SEEN_FILE: {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"ONAIR_ETCD_SEEN_FILE: {path} is damaged; check that the endpoints are the right "
            "etcd, then delete it"
        ) from None


def _write(path: Path, mark: Mark) -> None:
    """Whole or not at all, whatever dies meanwhile."""
    text = json.dumps({"clusterId": f"{mark.cluster_id:x}", "revision": mark.revision})
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
