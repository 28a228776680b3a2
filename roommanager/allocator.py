"""Pick a Janus and a mixer, and a free place on each.

The choice rests on the copy and may be stale: exactness comes from the transaction that creates
both slot keys (``execute.assign``). Places that this process is about to take are remembered as
claims until the copy shows them, so that a hundred starts at once do not race each other.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from pkg.errors import OnairError
from pkg.model import Kind, ModuleId
from pkg.schedule import Candidate, Choice, Policy, pick, refusal, refusals
from roommanager.fleet import Fleet, Module, ModuleKey

GUESSES = 8


class NoCapacityError(OnairError):
    """No module of a kind can take a room. ``refused``: kind → module id → why not."""

    def __init__(self, refused: Mapping[Kind, Mapping[str, str]]) -> None:
        super().__init__("; ".join(_lack(kind, why) for kind, why in refused.items()))
        self.refused = refused


class BusyError(OnairError):
    """The last places are being claimed right now; whether one stays free will show."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place of one module, with what the transaction must find unchanged."""

    kind: Kind
    module_id: ModuleId
    slot: int
    heartbeat_revision: int
    mark_revision: int
    why: str


class Allocator:
    def __init__(self, policy: Policy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        # place → revision at which the copy will show it; None while the transaction runs.
        # By module: under load the copy lags, and a start must not pay for the claims of all.
        self._claims: dict[ModuleKey, dict[int, int | None]] = defaultdict(dict)
        self._committed: list[tuple[int, ModuleKey, int]] = []  # a heap, by revision
        self._settled = anyio.Event()

    def shown(self, revision: int) -> None:
        """The copy stands at ``revision``: claims committed up to it are in the fleet now."""
        while self._committed and self._committed[0][0] <= revision:
            committed, module, slot = heapq.heappop(self._committed)
            if self._claims[module].get(slot) == committed:
                del self._claims[module][slot]

    def choose(self, fleet: Fleet, seen: int) -> dict[Kind, Place]:
        """One place of each kind; ``seen`` is the revision the fleet stands at.

        Raises NoCapacityError if a kind has none, BusyError if all that is free is claimed.
        """
        choices = {kind: self._pick(fleet.of(kind), seen) for kind in Kind}
        refused = {
            kind: refusals(module.candidate() for module in fleet.of(kind))
            for kind, choice in choices.items()
            if choice is None and not _has_room(fleet, kind)
        }
        if refused:
            raise NoCapacityError(refused)
        if None in choices.values():
            raise BusyError("the last places are being claimed")
        return {
            kind: self._place(fleet, kind, choice, seen)
            for kind, choice in choices.items()
            if choice is not None
        }

    def choose_other(
        self, fleet: Fleet, seen: int, kind: Kind, avoid: Collection[ModuleId]
    ) -> Place:
        """One place of one kind, on none of ``avoid``. Raises as ``choose`` does."""
        modules = [m for m in fleet.of(kind) if m.module_id not in avoid]
        choice = self._pick(modules, seen)
        if choice is not None:
            return self._place(fleet, kind, choice, seen)
        if any(refusal(module.candidate()) is None for module in modules):
            raise BusyError("the last places are being claimed")
        raise NoCapacityError({kind: refusals(module.candidate() for module in modules)})

    @asynccontextmanager
    async def claiming(self, places: Mapping[Kind, Place]) -> AsyncGenerator["Claim"]:
        """Hold the places while the transaction runs; told its revision, until the copy has it."""
        wanted = [((p.kind, p.module_id), p.slot) for p in places.values()]
        claim = Claim()
        for module, slot in wanted:
            self._claims[module][slot] = None
        try:
            yield claim
        finally:
            for module, slot in wanted:
                self._settle(module, slot, claim.revision)
            self._settled.set()
            self._settled = anyio.Event()

    async def settled(self) -> None:
        """Wait until some claim of this process has won or lost."""
        await self._settled.wait()

    def _settle(self, module: ModuleKey, slot: int, revision: int | None) -> None:
        if revision is None:
            self._claims[module].pop(slot, None)
        else:
            self._claims[module][slot] = revision
            heapq.heappush(self._committed, (revision, module, slot))

    def _pick(self, modules: Sequence[Module], seen: int) -> Choice | None:
        if self._policy is Policy.TWO_CHOICES and len(modules) > 2:
            drawn = [self._candidate(m, seen) for m in self._rng.sample(modules, 2)]
            if all(refusal(candidate) is None for candidate in drawn):
                return pick(drawn, self._policy, self._rng)  # as likely as drawn from all that fit
        return pick((self._candidate(m, seen) for m in modules), self._policy, self._rng)

    def _candidate(self, module: Module, seen: int) -> Candidate:
        return module.candidate(len(self._unseen(module, seen)))

    def _place(self, fleet: Fleet, kind: Kind, choice: Choice, seen: int) -> Place:
        module = fleet.get(kind, choice.module_id)
        if module is None or module.capacity is None:  # pragma: no cover - pick refuses these
            raise NoCapacityError({kind: {choice.module_id: "no heartbeat"}})
        taken = module.slots.keys() | self._unseen(module, seen)
        return Place(
            kind=kind,
            module_id=module.module_id,
            slot=self._free(module.capacity, taken),
            heartbeat_revision=module.heartbeat_revision,
            mark_revision=module.mark_revision,
            why=choice.why,
        )

    def _free(self, capacity: int, taken: Collection[int]) -> int:
        """Any free place; guessed first, for a list of all would cost more than the rest."""
        for _ in range(GUESSES):
            guess = self._rng.randrange(capacity)
            if guess not in taken:
                return guess
        return self._rng.choice([n for n in range(capacity) if n not in taken])

    def _unseen(self, module: Module, seen: int) -> set[int]:
        """The module's claimed places that its record does not show as taken yet."""
        claims = self._claims[module.kind, module.module_id]
        return {n for n, r in claims.items() if (r is None or r > seen) and n not in module.slots}


def _has_room(fleet: Fleet, kind: Kind) -> bool:
    """Were it not for our own claims, could some module take a room?"""
    return any(refusal(module.candidate()) is None for module in fleet.of(kind))


class Claim:
    """Set ``revision`` once the transaction that took the places is committed."""

    revision: int | None = None


def _lack(kind: Kind, why: Mapping[str, str]) -> str:
    """
    >>> _lack(Kind.MIXER, {"m1": "all 2 places are taken"})
    'no mixer can take a room: m1: all 2 places are taken'
    >>> _lack(Kind.JANUS, {})
    'no janus can take a room: none has ever registered'
    """
    each = ", ".join(f"{module}: {reason}" for module, reason in why.items())
    return f"no {kind.value} can take a room: {each or 'none has ever registered'}"
