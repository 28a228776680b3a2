"""What was written, revision by revision, read from etcd afterwards and held against the rules.

No writer is trusted: each write is compared with what etcd held at that very moment, so that one
by a module that woke up with old knowledge is found even if it was mended a moment later (I4).
"""

from collections.abc import Iterator, Sequence

import anyio

from pkg import keys
from pkg.etcd.api import Batch, Etcd
from pkg.model import JanusState, Kind, LiveMeta, MixerState, ModuleId, RoomId, Slot

READ_SECONDS = 30.0


async def told(etcd: Etcd, since: int) -> list[Batch]:
    """Everything from the revision until now; nothing of it may have been compacted."""
    last = (await etcd.range(keys.LEADER)).revision
    found: list[Batch] = []
    with anyio.fail_after(READ_SECONDS):
        async with etcd.watch("/", since=since) as batches:
            async for batch in batches:
                found.append(batch)
                if batch.revision >= last:
                    break
    return found


def stale(batches: Sequence[Batch]) -> list[str]:
    """Writes that a rule forbids, in words. The first batches must be the cluster's first.

    >>> from pkg.etcd.api import KV
    >>> def put(revision, key, record):
    ...     return Batch(revision, ((key, KV(key, record, revision, revision)),))
    >>> place = "/modules/mixer/m1/slots/0"
    >>> stale([put(2, place, Slot(room_id="a", epoch=1).encode())])
    []
    >>> stale([put(n, place, Slot(room_id=r, epoch=n).encode()) for n, r in ((2, "a"), (3, "b"))])
    ['revision 3: /modules/mixer/m1/slots/0 of a is given to b']
    """
    held: dict[str, bytes] = {}
    found: list[str] = []
    for batch in batches:
        before = dict(held)
        for key, kv in batch.changes:
            if kv is None:
                held.pop(key, None)
            else:
                held[key] = kv.value
        for key, kv in batch.changes:
            if kv is not None:
                found += [f"revision {batch.revision}: {w}" for w in _wrong(key, before, held)]
    return found


def _wrong(key: str, before: dict[str, bytes], after: dict[str, bytes]) -> Iterator[str]:
    """``after`` holds all that this revision wrote."""
    room, module = keys.parse_room(key), keys.parse_module(key)
    if room is not None and room[1] == "livemeta" and key in before:
        yield from _went_back(LiveMeta.decode(before[key]), LiveMeta.decode(after[key]))
    elif room is not None and room[1] == "mixer":
        mixer = MixerState.decode(after[key])
        yield from _reported(room[0], Kind.MIXER, mixer.mixer_id, mixer.epoch, before)
    elif room is not None and room[1] == "janus":
        janus = JanusState.decode(after[key])
        yield from _reported(room[0], Kind.JANUS, janus.janus_id, janus.epoch, before)
    elif module is not None and module[2].startswith("slots/") and key in before:
        old, new = Slot.decode(before[key]), Slot.decode(after[key])
        if old.room_id != new.room_id or new.epoch < old.epoch:
            yield f"{key} of {old.room_id} is given to {new.room_id}"


def _went_back(old: LiveMeta, new: LiveMeta) -> Iterator[str]:
    for kind in Kind:
        was, now = old.half_epoch(kind), new.half_epoch(kind)
        if now < was or (now == was and new.module(kind) != old.module(kind)):
            yield f"{new.room_id}: its {kind} half went from epoch {was} to {now}"


def _reported(
    room: RoomId, kind: Kind, module_id: ModuleId, epoch: int, before: dict[str, bytes]
) -> Iterator[str]:
    """Only who has the half may tell of it."""
    found = before.get(keys.room(room, "livemeta"))
    if found is None:
        yield f"{room}: {module_id} tells of a room that is not started"
        return
    live = LiveMeta.decode(found)
    if (module_id, epoch) != (live.module(kind), live.half_epoch(kind)):
        yield f"{room}: {module_id} tells of epoch {epoch}, which is over"


def moves(batches: Sequence[Batch], kind: Kind) -> list[tuple[int, RoomId]]:
    """When (revision) which room's half was given to another module while it was on air."""
    at: dict[RoomId, ModuleId] = {}
    found: list[tuple[int, RoomId]] = []
    for batch in batches:
        for key, kv in batch.changes:
            room = keys.parse_room(key)
            if room is None or room[1] != "livemeta":
                continue
            if kv is None:
                at.pop(room[0], None)
                continue
            module_id = LiveMeta.decode(kv.value).module(kind)
            if at.setdefault(room[0], module_id) != module_id:
                found.append((batch.revision, room[0]))
                at[room[0]] = module_id
    return found
