"""What this module says of its own health: can its Janus take and keep rooms?"""

import anyio

from janusmanager.api import Janus, JanusInfo, JanusRefusedError, JanusUnavailableError
from janusmanager.controller import JanusController
from janusmanager.messages import PLUGIN
from pkg.heartbeat import WELL, Wellness, worst

# It takes 0.2 ms; but a slow Janus only starts rooms slowly, while an ill one loses those it has.
# With a look every 2 s a frozen one shows within 5 s, a dead one at once: its connection drops.
ANSWER_SECONDS = 3.0


async def look(janus: Janus, controller: JanusController) -> Wellness:
    """Ask Janus for its plugins, which is a ping, too."""
    return worst(await _janus(janus), _manager(controller))


async def _janus(janus: Janus) -> Wellness:
    try:
        info = await _info(janus)
    except (JanusUnavailableError, JanusRefusedError) as error:
        return Wellness("unhealthy", str(error))
    if PLUGIN not in info.plugins:
        why = f"Janus has not loaded {PLUGIN}: see plugins.disable in janus.jcfg"
        return Wellness("unhealthy", why)
    return WELL


async def _info(janus: Janus) -> JanusInfo:
    with anyio.move_on_after(ANSWER_SECONDS):
        return await janus.info()
    raise JanusUnavailableError(f"Janus does not answer within {ANSWER_SECONDS:g} s")


def _manager(controller: JanusController) -> Wellness:
    """A Janus that refuses us has been restarted (it reads its settings then), and lost all."""
    if controller.refusal is not None:
        return Wellness("unhealthy", controller.refusal)
    if not controller.read.is_set():
        return Wellness("busy", "what Janus holds is still being read")
    return controller.assignments.wellness()
