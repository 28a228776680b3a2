"""Wiring of the gateway: `./onair gateway`."""

import gc
import os
import socket
from datetime import UTC, datetime
from functools import partial

from ulid import ULID

from pkg import __version__, wiring
from pkg.daemon import run_daemon
from pkg.etcd.api import Etcd
from pkg.events.api import Events
from pkg.httpserver import listen
from pkg.lifecycle import Step, background, run_until_signal
from pkg.model import Gateway
from pkg.tokens import Grant, Tokens
from wsgateway.admission import Admission
from wsgateway.alarms import Alarms
from wsgateway.config import Config
from wsgateway.connection import Surroundings
from wsgateway.exchange import Identity
from wsgateway.janus import JanusBridge
from wsgateway.limits import Limits, room_for
from wsgateway.metrics import Metrics
from wsgateway.presence import Presence
from wsgateway.rooms import Rooms
from wsgateway.server import House, Server
from wsgateway.session import Session
from wsgateway.spares import Spares

# A connection is many small objects that live long: Python's own thresholds would have them
# looked through again and again while others connect.
GC_THRESHOLDS = (50_000, 20, 100)


async def run(config: Config) -> None:
    bound = listen(config.gateway_listen)
    async with (
        wiring.etcd_client(config) as etcd,
        wiring.events(config, f"gateway/{config.gateway_id}") as events,
    ):
        house = build(config, etcd, events)
        server, around = Server(house), house.around
        informer, presence = around.rooms.informer, around.presence
        await run_until_signal(
            [
                Step("port", lambda: server.serving(bound), "probes that find nobody"),
                Step("alarms", lambda: background(around.alarms.run), "tokens that never end"),
                Step(
                    "revocations",
                    lambda: background(informer.run, ready=informer.synced.wait),
                    "hosts let in with a token that was taken back",
                ),
                Step(
                    "lease",
                    lambda: background(presence.run, ready=presence.registered.wait),
                    "two gateways of one id at work; hosts without a lock",
                ),
                Step("spares", around.spares.running, "hosts who wait longer"),
                Step("hosts", server.letting_in, "hosts sent away after their keys' keeper"),
            ]
        )


def build(config: Config, etcd: Etcd, events: Events) -> House:
    """Reads the secrets. Raises ConfigError."""
    rng, master, ice = wiring.rng(), config.master_secret(), config.ice_servers()
    me = Gateway(
        url=config.public_url,
        host=socket.gethostname(),
        started_at=wiring.now(),
        instance_id=str(ULID()),
        pid=os.getpid(),
        version=__version__,
    )
    presence = Presence(etcd, config.gateway_id, me, rng, events)
    rooms = Rooms(etcd, presence, master, config.gateway_max_hosts, rng)
    spares = Spares()

    def session(grant: Grant, fence: int) -> Session:
        servers = ice.of(grant.user, now=int(_since_1970()), until=grant.expires_at)
        identity = Identity(grant.room_id, grant.user, servers, fence)
        return Session(identity, rng, join_seconds=config.gateway_join_seconds)

    return House(
        gateway_id=config.gateway_id,
        etcd=etcd,
        admission=Admission(
            Tokens(config.token_keys()), rooms.is_void, config.gateway_allowed_origins
        ),
        limits=Limits(
            room_for(config.gateway_max_connections),
            config.gateway_max_per_address,
            config.gateway_trusted_proxies,
        ),
        around=Surroundings(
            presence,
            rooms,
            Alarms(),
            Metrics(),
            partial(JanusBridge, spares=spares),
            _since_1970,
            spares=spares,
        ),
        session=session,
        now=wiring.now,
    )


def _since_1970() -> float:
    return datetime.now(UTC).timestamp()


def main() -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    run_daemon(run, Config.load_or_exit(), "gateway")


if __name__ == "__main__":
    main()
