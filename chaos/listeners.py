"""Those who listen all the while to rooms that nobody stops, with a test tone in each."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from chaos import report
from chaos.player import Moment, Player
from chaos.player import Report as PlayerReport
from chaos.report import Violation
from chaos.scene import Scene
from chaos.speaker import Speaker
from pkg.errors import ConfigError

HEARS_SECONDS = 60.0
STARTED_SECONDS = 30.0
HERTZ = (440, 660, 880, 1100)


@dataclass(frozen=True, slots=True)
class Heard:
    """Of the listener who fared worst: seconds, and what was wrong for any."""

    missing: float
    silence: float
    violations: tuple[Violation, ...]


@dataclass
class Listeners:
    players: dict[str, Player]  # room → who listens to it

    async def hear(self, since: Moment, allowed: float) -> Heard:
        """Wait until all hear what is played now, then judge what they met since that moment.

        ``allowed``: seconds of audio that each may have missed.
        """
        now = Player.now()
        wrong = []
        for room, player in self.players.items():
            try:
                await player.hears_on(now, HEARS_SECONDS)
            except TimeoutError:
                says = f"{room}: silent, {HEARS_SECONDS:g} s after all was well again"
                wrong.append(Violation(report.AUDIO, says))
        found = {room: player.report(since) for room, player in self.players.items()}
        for room, heard in found.items():
            wrong += [Violation(report.ORDER, f"{room}: {words}") for words in set(heard.wrong)]
            wrong += [
                Violation(report.AUDIO, f"{room}: {words}") for words in _audio(heard, allowed)
            ]
        return Heard(
            max((heard.missing for heard in found.values()), default=0.0),
            max((heard.silence for heard in found.values()), default=0.0),
            tuple(wrong),
        )


def _audio(heard: PlayerReport, allowed: float) -> list[str]:
    wrong = []
    if heard.missing > allowed:
        wrong.append(f"{heard.missing:.1f} s of audio are missing, allowed are {allowed:g}")
    if heard.reloads:
        wrong.append(
            f"a page would have had to reload {heard.reloads} times: {heard.failures[-3:]}"
        )
    if heard.unfetchable:
        wrong.append(f"{heard.unfetchable} segments were listed, and could not be had")
    return wrong


@asynccontextmanager
async def listening(scene: Scene, rooms: Sequence[str]) -> AsyncGenerator[Listeners]:
    """They hear something when the body begins. Raises ConfigError if they never do."""
    async with anyio.create_task_group() as tasks:
        players = {room: Player(scene.public, scene.playlists(room)) for room in rooms}
        for (room, player), hertz in zip(players.items(), HERTZ, strict=False):
            tasks.start_soon(Speaker(scene.api, scene.state_dir, room, hertz).run)
            tasks.start_soon(player.play)
        await _started(players)
        yield Listeners(players)
        tasks.cancel_scope.cancel()


async def _started(players: Mapping[str, Player]) -> None:
    for room, player in players.items():
        try:
            await player.started(STARTED_SECONDS)
        except TimeoutError:
            raise ConfigError(f"nothing is heard of {room}: see ./onair doctor") from None
