"""What the witness's judge says of hosts: their keys, and their participants in Janus."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaos.judge import settled
from chaos.lists import Lists
from pkg import keys
from pkg.model import Gateway, Host, Record, RoomId
from tests.unit.test_chaos_judge import BLUE, BRIDGE, GOOD

GATEWAY = Gateway(url="ws://g/ws", host="h", started_at="t", instance_id="i", pid=1)


def host(room: RoomId, user: str, gateway_id: str = "g1") -> Record:
    return Host(
        room_id=room,
        user_id=user,
        gateway_id=gateway_id,
        connection="c",
        token_id="t",
        connected_at="t",
    )


def hosted(*hosts: Record, users: Sequence[str] = ()) -> Lists:
    """All in order but for these; ``users`` are in Janus."""
    found = {keys.gateway("g1"): GATEWAY.encode()}
    for one in hosts:
        assert isinstance(one, Host)
        found[keys.host(one.room_id, one.user_id)] = one.encode()
    bridge = replace(BRIDGE, users=tuple(users))
    return replace(GOOD, keys={**GOOD.keys, **found}, bridges=(bridge,))


def test_hosts_in_order_are_no_finding() -> None:
    assert settled(hosted(host(BLUE, "ann"), host(BLUE, "bob"), users=["bob", "ann"])) == []
    assert settled(hosted(host(BLUE, "ann"))) == [], "he may not have joined yet"


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (hosted(host(BLUE, "ann", "g2")), "I5 blue: host ann is held by gateway g2"),
        (hosted(host(RoomId("grey"), "ann")), "I7 grey: host ann of a room that does not"),
        (hosted(host(BLUE, "ann"), users=["ann", "ann"]), "I5 blue: ann is 2 times in j1"),
        (hosted(users=["ann"]), "I5 blue: ann is in j1, and at no gateway"),
        (
            replace(GOOD, keys={**GOOD.keys, keys.host(BLUE, "ann"): b"{"}),
            "I5 blue: the key of host ann cannot be read",
        ),
    ],
)
def test_what_may_not_stay_of_hosts_is_found(lists: Lists, words: str) -> None:
    (finding,) = settled(lists)
    assert finding.startswith(words)
