"""Every awaited side effect of the production flows, by the flow that meets it first.

A point that a flow meets and that is not listed for its kind of daemon fails the test: a new side
effect needs to be died at, too. (Who asks is part of a name, see ``tests.support.crashing``.)
"""

from collections.abc import Mapping

ROOM_MANAGER: Mapping[str, tuple[str, ...]] = {
    "life": (
        "txn(meta) in roommanager.execute.create < roommanager.wishes.create",
        "txn(livemeta:onair+slots) in roommanager.execute.assign < roommanager.wishes._assign",
        "txn(livemeta:onair) in roommanager.execute.rewrite < roommanager.controller._mark_on_air",
        "txn(livemeta:stopping) in roommanager.execute.rewrite < roommanager.wishes._end",
        "grant in roommanager.execute.finish_stop < roommanager.controller._finish",
        "txn(-livemeta+ended+meta) in roommanager.execute.finish_stop < "
        "roommanager.controller._finish",
        "txn(livemeta:removing) in roommanager.execute.rewrite < roommanager.wishes._end",
        "txn(-ended+-room) in roommanager.execute.finish_remove < roommanager.controller._finish",
    ),
    "restart": (
        "txn(-room) in roommanager.execute.finish_remove < roommanager.controller._finish",
    ),
    "upgrade": (
        "grant in pkg.heartbeat.held < pkg.election.run",
        "txn(leader) in pkg.election._win < pkg.election.run",
        "txn(-leader) in pkg.election._resign < pkg.election._lead",
    ),
    "place_is_lost": ("txn(slots) in roommanager.mending._apply < roommanager.mending.mend",),
    "mixer_is_lost": (
        "txn(-mixer+-slots+livemeta:onair+slots) in roommanager.execute.reassign < "
        "roommanager.mover.reassign",
    ),
    "janus_is_lost": (
        "txn(-janus+-slots+livemeta:onair+slots) in roommanager.execute.reassign < "
        "roommanager.mover.reassign",
    ),
    "janus_stays_away": (
        "txn(livemeta:onair+slots) in roommanager.execute.reassign < roommanager.mover.reassign",
    ),
    "drain": (
        "txn(mark) in roommanager.execute.set_mark < roommanager.api.set_mark",
        "txn(livemeta:onair+slots) in roommanager.execute.move < roommanager.mover.move",
        "txn(-mark) in roommanager.execute.set_mark < roommanager.api.set_mark",
    ),
    "drain_to_the_end": (
        "txn(livemeta:onair) in roommanager.execute.drop_previous < "
        "roommanager.mover.drop_previous",
    ),
}

JANUS_MANAGER: Mapping[str, tuple[str, ...]] = {
    "life": (
        "create_room in janusmanager.execute._create < janusmanager.execute._ask_janus",
        "forward in janusmanager.execute._forward < janusmanager.execute._ask_janus",
        "txn(janus:forwarding) in pkg.assignments.report < janusmanager.controller._act",
        "destroy_room in janusmanager.execute._ask_janus < janusmanager.controller._act",
        "txn(-janus+-slots) in pkg.assignments.withdraw < janusmanager.controller._act",
    ),
    "restart": (
        "grant in pkg.heartbeat.held < pkg.heartbeat.run",
        "txn(heartbeat:healthy) in pkg.heartbeat._register < pkg.heartbeat._beat",
    ),
    "mixer_is_lost": (
        "stop_forward in janusmanager.execute._ask_janus < janusmanager.controller._act",
        "txn(janus:room_created) in pkg.assignments.report < janusmanager.controller._act",
    ),
    "janus_stays_away": ("txn(-slots) in pkg.assignments.withdraw < janusmanager.controller._act",),
    "janus_hangs": (
        "txn(heartbeat:unhealthy) in pkg.heartbeat._stand_by < pkg.heartbeat._beat",
        "txn(heartbeat:healthy) in pkg.heartbeat._stand_by < pkg.heartbeat._beat",
    ),
}

MIXER: Mapping[str, tuple[str, ...]] = {
    "life": (
        "spawn in mixer.execute._spawn_and_tell < mixer.execute._spawn_on_a_quiet_port",
        "txn(mixer:starting) in pkg.assignments.report < mixer.execute.tell",
        "txn(mixer:publishing) in pkg.assignments.report < mixer.controller.reconcile",
        "stop in mixer.execute._stop < mixer.controller.reconcile",
        "forget_key in mixer.execute._clean < mixer.controller.reconcile",
        "txn(-mixer+-slots) in pkg.assignments.withdraw < mixer.controller.reconcile",
        "remove in mixer.execute._clean < mixer.controller.reconcile",
    ),
    "restart": (
        "grant in pkg.heartbeat.held < pkg.heartbeat.run",
        "txn(heartbeat:healthy) in pkg.heartbeat._register < pkg.heartbeat._beat",
    ),
    "ffmpeg_dies": (
        "spawn in mixer.execute._start < mixer.execute._start_or_note",
        "txn(mixer:failing) in pkg.assignments.report < mixer.controller.reconcile",
        "txn(mixer:starting) in pkg.assignments.report < mixer.controller.reconcile",
    ),
    "janus_is_lost": ("txn(mixer:starved) in pkg.assignments.report < mixer.controller.reconcile",),
    "drain": ("txn(-slots) in pkg.assignments.withdraw < mixer.controller.reconcile",),
}

POINTS = {"room-manager": ROOM_MANAGER, "janus-manager": JANUS_MANAGER, "mixer": MIXER}
# Once a minute a heartbeat is written for its own sake: where it meets a flow is chance.
BY_CHANCE = {"txn(heartbeat:healthy) in pkg.heartbeat._stand_by < pkg.heartbeat._beat"}


def known(kind: str) -> set[str]:
    return {name for names in POINTS[kind].values() for name in names} | BY_CHANCE
