"""Parts die during a show: both ends go on by themselves, the page is never loaded anew."""

import anyio
import pytest

from bench.visitors import Listener, Studio, only, since, tone
from tests.browser.house import House
from tests.conftest import Figure

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(600)]


async def show(house: House, room: str) -> tuple[Studio, Listener]:
    """Ann is on air with 660 Hz and somebody hears it."""
    await house.on_air(room)
    ann = await house.host(room, "ann")
    await ann.go_live()
    listener = await house.listener(room)
    await listener.play()
    await only(listener.page, 660)
    return ann, listener


async def test_janus_dies(house: House, figure: Figure) -> None:
    ann, listener = await show(house, "janus-dies")
    await ann.watch()
    await listener.watch(660)
    house.stack.janus.restart()
    figure("studio live again, s", await ann.came_back())
    # a studio that is back at once leaves no gap that anybody could hear
    figure("listener hears the host again, s", await listener.heard_on(660))
    seen = await listener.seen()
    figure("longest stall of the player, s", round(seen.longest_stall, 1))
    assert seen.reloads == 0


async def test_a_gateway_dies(house: House, figure: Figure) -> None:
    ann, _ = await show(house, "gateway-dies")
    bob = await house.host("gateway-dies", "bob", hertz=440)
    await bob.go_live()
    await tone(bob.page, 660)
    place = await house.gateway_of("gateway-dies", "ann")
    await ann.watch()
    killed = anyio.current_time()
    place.kill()
    try:
        figure("studio live again, s", await ann.came_back())
        figure("co-host hears again, s", await since(killed, bob.page))
        assert await house.gateway_of("gateway-dies", "ann") is not place
    finally:
        place.start()
        await house.stack.ready()


async def test_the_mixers_machine_dies(house: House, figure: Figure) -> None:
    _, listener = await show(house, "mixer-dies")
    mixer = await house.stack.mixer_of("mixer-dies")
    await listener.watch(660)
    mixer.kill_host()
    try:
        figure("listener hears the host again, s", await listener.came_back())
        await listener.goes_on()
        await listener.says("Live")
        seen = await listener.seen()
        figure("longest stall of the player, s", round(seen.longest_stall, 1))
        assert seen.reloads == 0
        assert await house.stack.mixer_of("mixer-dies") is not mixer
    finally:
        mixer.start()
        await house.stack.ready()
