"""What this module says of its own health: can its Janus take and keep rooms?"""

from janusmanager.api import Janus, JanusRefusedError, JanusUnavailableError
from janusmanager.controller import JanusController
from janusmanager.messages import PLUGIN


async def trouble(janus: Janus, controller: JanusController) -> str | None:
    """Why it is not healthy, in words; None if it is. The answer to ``info`` is a ping, too."""
    try:
        info = await janus.info()
    except (JanusUnavailableError, JanusRefusedError) as error:
        return str(error)
    if PLUGIN not in info.plugins:
        return f"Janus has not loaded {PLUGIN}: see plugins.disable in janus.jcfg"
    if controller.refusal is None and not controller.read.is_set():
        return "what Janus holds is still being read"
    return controller.refusal
