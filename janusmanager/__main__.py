"""Wiring of the Janus manager: `./onair janus-manager`."""

from dataclasses import replace

import anyio

from janusmanager.config import Config
from janusmanager.controller import JanusController, Node
from janusmanager.driver import JanusDriver
from janusmanager.housekeeping import Housekeeping
from janusmanager.plan import Self
from janusmanager.wellness import look
from pkg import __version__, keys, wiring
from pkg.daemon import run_daemon
from pkg.heartbeat import Heart, Wellness, describer
from pkg.lifecycle import Step, background, run_until_signal
from pkg.model import Kind, ModuleId

FIRST_READ_SECONDS = 1.0


async def run(config: Config) -> None:
    janus_id = ModuleId(config.janus_manager_id)
    access, node = config.access(), Node(Self(janus_id, config.endpoints), config.master_secret())
    driver = JanusDriver(access, janus_id, wiring.rng())
    async with (
        wiring.etcd_client(config) as etcd,
        wiring.events(config, f"janus-manager/{janus_id}") as events,
    ):
        janus = JanusController(etcd, driver, replace(node, events=events), wiring.rng())

        async def check() -> Wellness:
            return await look(driver, janus)

        async def first_read() -> None:
            """A Janus that is away must not keep us from saying so in the heartbeat."""
            with anyio.move_on_after(FIRST_READ_SECONDS):
                await janus.read.wait()

        describe = describer(
            config.janus_manager_capacity, config.endpoints, wiring.now(), __version__
        )
        heart = Heart(etcd, keys.heartbeat(Kind.JANUS, janus_id), describe, check)
        driver.on_change(heart.stir)
        caches = janus.assignments.informer.run
        sweeps = Housekeeping(janus, janus_id).sweep_for_ever
        await run_until_signal(
            [
                Step("janus", lambda: background(driver.run), "requests with nobody to send them"),
                Step(
                    "inventory",
                    lambda: background(janus.follow_janus, ready=first_read),
                    "rooms made twice; a start under a wrong admin secret",
                ),
                Step(
                    "heart",
                    lambda: background(heart.run, ready=heart.registered.wait),
                    "two managers of one id at work",
                ),
                Step("caches", lambda: background(caches), "acting on an empty copy"),
                Step("rooms", lambda: background(janus.work), "work that nobody does"),
                Step("housekeeping", lambda: background(sweeps), "leftovers nobody noticed"),
            ]
        )


def main() -> None:
    run_daemon(run, Config.load_or_exit(), "janus-manager")


if __name__ == "__main__":
    main()
