"""S7 of `streams check` (docs/streams.md): subscriptions can be read, and no cursor lies past its
stream's tail."""

from collections.abc import Iterator

from streams.store.state import State
from streams.subscriptions import model
from streams.wal.records import DecodeError


def faults(state: State) -> Iterator[str]:
    try:
        found = model.load(state.notes)
    except DecodeError as error:
        yield f"S7 {error}"
        return
    for one in found.values():
        for link in one.links.values():
            stream = state.by_id.get(link.sid) if link.sid is not None else None
            if stream is not None and link.acked > stream.tail:
                yield f"S7 {one.name}: has acked past the tail of {link.path}"
