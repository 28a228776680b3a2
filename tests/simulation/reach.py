"""What must happen at least once in a run: a simulation that never goes there proves nothing.

Each shard leaves its counts in a shared folder; the last one adds them up.
"""

import json
from collections import Counter
from pathlib import Path

from tests.simulation import scenarios

SHARDS = 8
DAEMONS = ("r", "j", "m")
MUST = {
    *(f"kill.{d}" for d in DAEMONS),
    *(f"pause.{d}.{how}" for d in DAEMONS for how in ("long", "short")),
    *(f"line.{how}.{d}" for d in DAEMONS for how in ("hole", "cut", "lose")),
    *(f"etcd.{how}.{long}" for how in ("pause", "die") for long in ("long", "short")),
    *(f"janus.spoil.{request}" for request in scenarios.REQUESTS),
    *(f"mark.{kind}.{mark}" for kind in ("janus", "mixer") for mark in ("draining", "disabled")),
    *(f"ffmpeg.{how}" for how in ("kill", "stick", "curse")),
    *(
        "kill.host",
        "kill.janus_host.dark",
        "kill.janus_host.refusing",
        "janus.die",
        "janus.freeze",
        "janus.slow",
        "disk.full",
        "etcd.compacted",
    ),
    *("kill.janus_host.dark", "kill.janus_host.refusing"),
    # calls, and how they ended
    *(f"call.{verb}.done" for verb in ("create", "start", "stop", "delete")),
    *("call.create.RoomExistsError", "call.start.RoomNotFoundError"),
    *("call.start.RoomRemovingError", "call.start.NoCapacityError", "call.start.UnavailableError"),
    # what the daemons did
    *("room.placed", "room.on_air", "room.stopped", "room.removed", "room.moved"),
    *("room.dropped_previous", "room.nowhere_to_go", "fleet.mass_loss"),
    *("leader.elected", "slot.mended", "editor.deleted_slot", "playlist.served"),
    *(f"module.{fitness}" for fitness in ("well", "unsure", "ill", "dead")),
    *(f"probe.janus.{answer}" for answer in ("answers", "refused", "silent")),
    *(f"probe.mixer.{answer}" for answer in ("answers", "refused", "silent")),
    *(f"moved.mixer: {why}" for why in ("draining", "unhealthy", "nobody listens", "directly")),
    *(f"moved.janus: {why}" for why in ("unhealthy", "nobody listens", "directly")),
    *("mix.adopted", "mix.exited", "mix.started", "mix.stopped", "mix.withdrawn"),
    *("janus_room.created", "janus_room.destroyed", "janus_room.withdrawn"),
    *("forwarder.made", "forwarder.stopped", "rebuild.failed", "rebuild.ended"),
    *("informer.lost", "informer.compacted", "heartbeat.lost", "heartbeat.registered"),
    *("lease.renewal_failed", "health.changed", "housekeeping.swept", "housekeeping.failed"),
}


def noted(folder: Path, shard: int, reached: Counter[str]) -> Counter[str] | None:
    """Leave this shard's counts; answers the sum if every shard has."""
    part = folder / f"{shard}.part"
    part.write_text(json.dumps(reached))
    part.rename(folder / f"{shard}.json")
    parts = sorted(folder.glob("*.json"))
    if len(parts) < SHARDS:
        return None
    total: Counter[str] = Counter()
    for found in parts:
        total.update(json.loads(found.read_text()))
    return total


def missing(total: Counter[str]) -> list[str]:
    return sorted(what for what in MUST if not total[what])
