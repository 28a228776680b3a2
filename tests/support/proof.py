"""The proof's instruments at a test's stack: its witness, and a player of one of its rooms."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chaos.player import Player, playing
from chaos.witness import JanusPart, MixerPart, Witness
from pkg.model import ModuleId
from tests.support.hosts import JanusHost, MixerHost
from tests.support.stack import Stack


def witness(stack: Stack) -> Witness:
    return Witness(
        stack.etcd,
        stack.public,
        stack.site.master,
        mixers=[_mixer(mixer) for mixer in stack.mixers],
        januses=[_janus(host) for host in stack.janus_hosts],
    )


def _mixer(mixer: MixerHost) -> MixerPart:
    place = mixer.place
    return MixerPart(ModuleId(mixer.module_id), place.media, place.run, place.rtp_ports)


def _janus(host: JanusHost) -> JanusPart:
    settings = host.place.janus
    return JanusPart(
        ModuleId(host.module_id),
        settings.admin_http_url,
        settings.admin_secret,
        settings.admin_key,
    )


@asynccontextmanager
async def player(stack: Stack, room: str) -> AsyncGenerator[Player]:
    """Plays the room over all room managers, from when something is in its buffer on."""
    urls = [
        f"{stack.site.api_url(number)}/hls/{room}/live.m3u8"
        for number in range(len(stack.room_managers))
    ]
    async with playing(stack.public, urls) as playing_one:
        await playing_one.started()
        yield playing_one
