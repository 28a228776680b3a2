"""The modules as etcd shows them: heartbeat, mark and taken slots. Pure, fed one key at a time.

The room manager keeps one fed from its copy, and builds a fresh one from a list of
``/modules/`` before it refuses a room: a refusal must rest on facts of now.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from pydantic import ValidationError

from pkg import keys
from pkg.etcd.api import KV
from pkg.model import Heartbeat, Kind, Mark, MarkRecord, ModuleId, RoomId, Slot
from pkg.schedule import Candidate

MAX_CAPACITY = 100_000  # no module has more places; counting through what a heartbeat claims hangs

ModuleKey: TypeAlias = tuple[Kind, ModuleId]
R = TypeVar("R", Heartbeat, MarkRecord, Slot)


@dataclass(slots=True)
class Module:
    kind: Kind
    module_id: ModuleId
    heartbeat: Heartbeat | None = None
    heartbeat_revision: int = 0
    mark: Mark = Mark.READY
    mark_revision: int = 0
    deadline_at: str | None = None  # of a draining one, RFC 3339 UTC
    slots: dict[int, Slot | None] = field(default_factory=dict)  # None: taken, but unreadable
    slot_revisions: dict[int, int] = field(default_factory=dict)

    @property
    def leased(self) -> bool:
        return self.heartbeat_revision > 0

    @property
    def rooms(self) -> set[RoomId]:
        """Who holds its places."""
        return {slot.room_id for slot in self.slots.values() if slot}

    @property
    def unhealthy(self) -> str | None:
        """Why it takes no rooms, as its heartbeat tells; None if it is healthy."""
        if self.heartbeat is None:
            return "no heartbeat: it is not running, or cannot reach etcd"
        if not self.heartbeat.healthy:
            return self.heartbeat.reason or f"says it is {self.heartbeat.status}"
        if self.capacity is None:
            return f"claims a capacity of less than 0 or more than {MAX_CAPACITY}"
        return None

    @property
    def capacity(self) -> int | None:
        """Places, as its heartbeat tells; None without one, or if what it tells cannot be."""
        told = self.heartbeat.capacity if self.heartbeat else -1
        return told if 0 <= told <= MAX_CAPACITY else None

    def candidate(self, claimed: int = 0) -> Candidate:
        """``claimed``: places that this process is about to take."""
        return Candidate(
            module_id=self.module_id,
            capacity=self.capacity or 0,
            used=len(self.slots) + claimed,
            unhealthy=self.unhealthy,
            mark=self.mark,
        )


class Fleet:
    def __init__(self, kvs: Iterable[KV] = ()) -> None:
        self._modules: dict[tuple[Kind, ModuleId], Module] = {}
        for kv in kvs:
            self.apply(kv.key, kv)

    def of(self, kind: Kind) -> list[Module]:
        return [module for (k, _), module in self._modules.items() if k is kind]

    def get(self, kind: Kind, module_id: ModuleId) -> Module | None:
        return self._modules.get((kind, module_id))

    def apply(self, key: str, kv: KV | None) -> None:
        """Take in one key's present value (None: it is gone). Other keys are passed over."""
        parsed = keys.parse_module(key)
        if parsed is None:
            return
        kind, module_id, rest = parsed
        module = self._modules.setdefault((kind, module_id), Module(kind, module_id))
        if rest == "heartbeat":
            module.heartbeat = _decode(kv, Heartbeat)
            module.heartbeat_revision = kv.mod_revision if kv else 0
        elif rest == "mark":
            record = _decode(kv, MarkRecord)
            # An unreadable mark is a wish we cannot read: no rooms until it is mended.
            module.mark = record.mark if record else (Mark.DISABLED if kv else Mark.READY)
            module.mark_revision = kv.mod_revision if kv else 0
            module.deadline_at = record.deadline_at if record else None
        else:
            _apply_slot(module, rest, kv)
        if module.heartbeat_revision == module.mark_revision == 0 and not module.slots:
            del self._modules[kind, module_id]


def _apply_slot(module: Module, rest: str, kv: KV | None) -> None:
    folder, _, number = rest.partition("/")
    if folder != "slots" or not re.fullmatch("[0-9]{1,9}", number):
        return
    if kv is None:
        module.slots.pop(int(number), None)
        module.slot_revisions.pop(int(number), None)
    else:
        module.slots[int(number)] = _decode(kv, Slot)
        module.slot_revisions[int(number)] = kv.mod_revision


def _decode(kv: KV | None, kind: type[R]) -> R | None:
    if kv is None:
        return None
    try:
        return kind.decode(kv.value)
    except ValidationError:
        return None
