"""What ``plan`` must know besides a room's own keys; owns the clocks that this takes.

All durations are as this process saw them: after a restart they begin anew, which makes a move
later and never wrong.
"""

from collections.abc import Callable

import anyio

from pkg.informer import UndecodableError
from pkg.model import Epoch, Kind, LiveMeta, Mark, ModuleId, RoomId
from roommanager.drain import next_to_leave
from roommanager.facts import RoomFacts, places
from roommanager.fleet import ModuleKey
from roommanager.marks import seconds_left
from roommanager.pace import Rests
from roommanager.plan import Around, Standing
from roommanager.status import is_fed, is_on_air
from roommanager.verdict import Fitness
from roommanager.view import View
from roommanager.vigil import Vigil

TRANSIT_SECONDS = 30.0  # a room that is not on air by then no longer holds up the others


class Surroundings:
    def __init__(self, view: View, vigil: Vigil, now: Callable[[], str]) -> None:
        self._view = view
        self._vigil = vigil
        self._now = now
        self._rests = Rests()
        self._lives: dict[RoomId, LiveMeta] = {}  # as they were seen last
        self._displaced: dict[tuple[RoomId, Kind], tuple[Epoch, str]] = {}
        # per room: (what, of which epoch) → since when
        self._since: dict[RoomId, dict[tuple[str, int], float]] = {}

    def of(self, facts: RoomFacts, live: LiveMeta) -> Around:
        now, room_id = anyio.current_time(), facts.room_id
        self._note_move(live, now)
        held = {(holding.kind, holding.module_id) for holding in facts.held}
        self._vigil.depend(room_id, {(p.kind, p.module_id) for p in places(live)} - held)
        on_air = is_on_air(live, facts.janus, facts.mixer)
        conditions: dict[tuple[str, int], bool] = {
            ("on air", live.mixer_epoch): on_air,
            ("off air", live.mixer_epoch): not on_air,
            ("unfed", live.mixer_epoch): not is_fed(live, facts.janus),
        }
        before = self._since.get(room_id, {})
        since = {c: before.get(c, now) for c, holds in conditions.items() if holds}
        self._since[room_id] = since
        return Around(
            modules={module: self.standing(*module) for module in _named(facts, live)},
            on_air_seconds=now - since.get(("on air", live.mixer_epoch), now),
            unfed_seconds=now - since.get(("unfed", live.mixer_epoch), now),
            rest_seconds=self._rests.seconds_left(room_id, now),
            displaced=self._displaced_halves(live),
            may_leave=self.next_to_leave(live.mixer_id) == room_id,
        )

    def _note_move(self, live: LiveMeta, now: float) -> None:
        """Whichever room manager moved it away from a module that lives, it has to rest now."""
        before = self._lives.get(live.room_id)
        self._lives[live.room_id] = live
        if before is None or before.nonce != live.nonce:
            return
        left = {(kind, before.module(kind)) for kind in Kind if _has_left(before, live, kind)}
        if any(not self.standing(*module).is_dead for module in left):
            self._rests.moved(live.room_id, now)

    def displace(self, room_id: RoomId, kind: Kind, epoch: Epoch, why: str) -> None:
        """That half runs, under that epoch, where no place is left for it: it must move."""
        self._displaced[room_id, kind] = (epoch, why)

    def _displaced_halves(self, live: LiveMeta) -> dict[Kind, str]:
        found = {kind: self._displaced.get((live.room_id, kind)) for kind in Kind}
        return {k: d[1] for k, d in found.items() if d and d[0] == live.half_epoch(k)}

    def forget(self, room_id: RoomId) -> None:
        for kind in Kind:
            self._displaced.pop((room_id, kind), None)
        self._since.pop(room_id, None)
        self._lives.pop(room_id, None)
        self._vigil.depend(room_id, ())
        self._rests.forget(room_id)

    def standing(self, kind: Kind, module_id: ModuleId) -> Standing:
        found = self._view.fleet.get(kind, module_id)
        return Standing(
            verdict=self._vigil.verdict(kind, module_id),
            mark=found.mark if found else Mark.READY,
            overdue=self.deadline_seconds(kind, module_id) == 0.0,
        )

    def deadline_seconds(self, kind: Kind, module_id: ModuleId) -> float | None:
        """Until a draining module's deadline; 0 once it has passed, None if it has none."""
        found = self._view.fleet.get(kind, module_id)
        if found is None or found.mark is not Mark.DRAINING:
            return None
        return seconds_left(found.deadline_at, self._now())

    def next_to_leave(self, mixer_id: ModuleId) -> RoomId | None:
        """None also if the mixer is not draining."""
        found = self._view.fleet.get(Kind.MIXER, mixer_id)
        if found is None or found.mark is not Mark.DRAINING:
            return None
        rooms = found.rooms
        return next_to_leave(self._view, rooms, mixer_id, self._in_transit, self._can_follow)

    def _can_follow(self, live: LiveMeta) -> bool:
        """Without its Janus manager the room would fall silent, and be torn from a living Janus."""
        return self._vigil.verdict(Kind.JANUS, live.janus_id).fitness is Fitness.WELL

    def _in_transit(self, live: LiveMeta) -> bool:
        """Its new mixer is not on air yet, but may still come to be. One that cannot be read must
        not hold up the others."""
        try:
            facts = self._view.room(live.room_id)
        except UndecodableError:
            return False
        if facts.unreadable or is_on_air(live, facts.janus, facts.mixer):
            return False
        since = self._since.get(live.room_id, {}).get(("off air", live.mixer_epoch))
        return since is None or anyio.current_time() - since < TRANSIT_SECONDS


def _has_left(before: LiveMeta, live: LiveMeta, kind: Kind) -> bool:
    """Not make-before-break: that is no sign of trouble."""
    old = before.module(kind)
    replaced = kind is Kind.MIXER and live.previous is not None and live.previous.mixer_id == old
    return live.module(kind) != old and not replaced


def _named(facts: RoomFacts, live: LiveMeta) -> set[ModuleKey]:
    """Every module that livemeta or an observed key names."""
    named: set[ModuleKey] = {(place.kind, place.module_id) for place in places(live)}
    return named | set(facts.reporters.items())
