"""The machines that rooms are placed on, as tests break them: a mixer's and a Janus's.

A mixer host is its daemon *and* its FFmpegs, a Janus host is Janus *and* its manager. Each part
may be killed, paused and started alone too: ``mixer.kill()`` leaves its FFmpegs running.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tests.support import site as sites
from tests.support.daemon import Daemon
from tests.support.ffmpeg import end_all
from tests.support.freeze import freeze
from tests.support.janus import RealJanus
from tests.support.site import Machine, Site


def marked(name: str, value: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Living processes whose environment holds ``name=value``; psutil as a second witness."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and environment.get(name) == value:
            yield process.pid, environment


class MixerHost(Daemon):
    """The mixer's daemon; ``…_host`` does it to the whole machine."""

    def __init__(self, site: Site, place: Machine) -> None:
        env = sites.mixer_env(site, place)
        super().__init__(place.called("mixer"), "mixer", env, place.folder)
        self.place = place

    @property
    def module_id(self) -> str:
        return self.place.mixer_id

    def ffmpegs(self) -> dict[str, list[int]]:
        """room → pids of its living FFmpegs."""
        found: dict[str, list[int]] = {}
        for pid, environment in marked("ONAIR_MIXER", self.module_id):
            found.setdefault(environment["ONAIR_ROOM"], []).append(pid)
        return found

    def kill_ffmpeg(self, room: str) -> None:
        for pid in self.ffmpegs().get(room, []):
            os.kill(pid, signal.SIGKILL)

    def kill_host(self) -> None:
        """As a machine that lost its power; ``start`` is the machine booted again."""
        self.kill()
        self._signal_ffmpegs(signal.SIGKILL)

    def pause_host(self) -> None:
        self.pause()
        for pids in self.ffmpegs().values():
            for pid in pids:
                freeze(pid)

    def resume_host(self) -> None:
        self._signal_ffmpegs(signal.SIGCONT)
        self.resume()

    def end(self) -> None:
        """Nothing of it runs any more, whatever the test did to it."""
        self.kill()
        end_all(self.place.run)

    def _signal_ffmpegs(self, number: signal.Signals) -> None:
        for pids in self.ffmpegs().values():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


class JanusHost:
    """``janus`` and its ``manager``; the methods do it to both."""

    def __init__(self, site: Site, place: Machine) -> None:
        env = sites.janus_manager_env(site, place)
        self.place = place
        self.janus = RealJanus(place.folder / "janus", place.janus)
        self.manager = Daemon(place.called("janus-manager"), "janusmanager", env, place.folder)

    @property
    def module_id(self) -> str:
        return self.place.janus_id

    def start(self) -> None:
        self.janus.start()
        self.manager.start()

    def kill_host(self) -> None:
        self.janus.kill()
        self.manager.kill()

    def pause_host(self) -> None:
        self.janus.pause()
        self.manager.pause()

    def resume_host(self) -> None:
        self.janus.resume()
        self.manager.resume()
