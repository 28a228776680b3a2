"""Wiring of the mixer: `./onair mixer`."""

import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import anyio.to_thread

from mixer import origin
from mixer.abilities import Abilities
from mixer.config import Config
from mixer.controller import MixerController, Node
from mixer.driver import FfmpegProcesses, noisy_ports
from mixer.files import Layout
from mixer.housekeeping import sweep_for_ever
from mixer.plan import Self
from mixer.ports import Ports
from mixer.wellness import Signs, judge, measure
from pkg import __version__, keys, wiring
from pkg.daemon import run_daemon
from pkg.errors import ConfigError
from pkg.heartbeat import Heart, Wellness, describer, worst
from pkg.httpserver import listen, serving
from pkg.lifecycle import Step, background, run_until_signal
from pkg.model import Endpoints, Kind, ModuleId


async def run(config: Config) -> None:
    if shutil.which(config.mixer_ffmpeg) is None:
        raise ConfigError(f"ONAIR_MIXER_FFMPEG: there is no program {config.mixer_ffmpeg}")
    bound = listen(config.mixer_listen)
    layout = Layout(config.mixer_media_dir, config.mixer_run_dir)
    for folder in (layout.media, layout.run):
        folder.mkdir(parents=True, exist_ok=True)
    mixer_id = ModuleId(config.mixer_id)
    processes = FfmpegProcesses(
        mixer_id,
        layout,
        config.mixer_address,
        ffmpeg=config.mixer_ffmpeg,
        segment_seconds=config.mixer_segment_seconds,
    )
    async with (
        wiring.etcd_client(config) as etcd,
        wiring.events(config, f"mixer/{mixer_id}") as events,
    ):
        base, count = config.mixer_rtp_port_base, config.mixer_rtp_ports
        pairs = range(base, base + count, 2)
        ports = Ports(base, count // 2, processes.bindable)
        ports.quarantine(await noisy_ports(config.mixer_address, pairs), anyio.current_time())
        own = replace(node(config), events=events)
        controller = MixerController(etcd, own, processes, processes, ports, wiring.rng())

        abilities = Abilities(config.mixer_ffmpeg)

        async def check() -> Wellness:
            both = [await anyio.to_thread.run_sync(measure, f) for f in (layout.media, layout.run)]
            port = ports.free(controller.inventory.ports(), anyio.current_time())
            clock = datetime.now(UTC).timestamp()
            found = judge(Signs(tuple(both), abilities.trouble, bool(port), clock))
            return worst(found, controller.assignments.wellness())

        me = describer(config.mixer_capacity, node(config).me.endpoints, wiring.now(), __version__)
        heart = Heart(etcd, keys.heartbeat(Kind.MIXER, mixer_id), me, check)

        async def sweep() -> None:
            await sweep_for_ever(controller, processes)

        def serve() -> AbstractAsyncContextManager[object]:
            app = origin.app(layout.media, mixer_id, config.mixer_segment_seconds)
            return serving(app, bound)

        assignments = controller.assignments.informer
        await run_until_signal(
            [
                Step("origin", serve, "404s"),
                Step(
                    "ffmpeg",
                    lambda: background(abilities.keep_looking, ready=abilities.tried.wait),
                    "rooms for an FFmpeg that cannot mix them",
                ),
                Step(
                    "heart",
                    lambda: background(heart.run, ready=heart.registered.wait),
                    "two mixers of one id at work",
                ),
                Step("caches", lambda: background(assignments.run), "acting on an empty copy"),
                Step("rooms", lambda: background(controller.run), "work that nobody does"),
                Step("housekeeping", lambda: background(sweep), "leftovers nobody noticed"),
            ]
        )


def node(config: Config) -> Node:
    url = config.origin_url
    return Node(
        me=Self(
            mixer_id=ModuleId(config.mixer_id),
            ip=config.mixer_address,
            endpoints=Endpoints(origin=url, probe=f"{url}/probe"),
        ),
        segment_seconds=config.mixer_segment_seconds,
        master=config.master_secret(),
    )


def main() -> None:
    run_daemon(run, Config.load_or_exit(), "mixer")


if __name__ == "__main__":
    main()
