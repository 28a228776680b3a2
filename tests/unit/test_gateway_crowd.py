"""Who is in the AudioBridge room: what Janus leaves unsaid is said, what it repeats is not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wsgateway.crowd import Crowd
from wsgateway.exchange import Event, Peer, PeerLeft, PeersSeen, PlaceLost, Talking
from wsgateway.messages import Joined

OWN, LATER = 1, 2
BOB = Peer(7, "bob", "Bob")


def crowd(*others: Peer, muted: bool = False) -> Crowd:
    return Crowd(5, "ann", Joined(OWN, others), muted=muted)


def seen(*peers: Peer) -> PeersSeen:
    return PeersSeen(5, peers)


def peer(base: Peer, **changes: bool) -> Peer:
    facts = {"muted": base.muted, "live": base.live, "talking": base.talking} | changes
    return Peer(base.participant_id, base.user_id, base.display, **facts)


def test_what_is_repeated_is_told_once() -> None:
    here = crowd(BOB)
    assert here.hear(seen(BOB)) == ()
    live = peer(BOB, live=True)
    assert here.hear(seen(live)) == (seen(live),)
    assert here.hear(seen(live)) == ()
    assert here.others() == (live,)


def test_a_change_keeps_that_he_talks_for_janus_does_not_repeat_it() -> None:
    here = crowd(BOB)
    here.hear(Talking(5, 7, talking=True))
    [news] = here.hear(seen(peer(BOB, live=True)))
    assert news == seen(peer(BOB, live=True, talking=True))


def test_who_is_muted_does_not_talk_until_he_is_not() -> None:
    """Janus says nothing of it, and takes up where it was."""
    here = crowd(BOB)
    assert here.hear(Talking(5, 7, talking=True)) == (Talking(5, 7, talking=True),)
    assert here.hear(seen(peer(BOB, muted=True))) == (seen(peer(BOB, muted=True)),)
    assert here.hear(seen(BOB)) == (seen(peer(BOB, talking=True)),)


def test_ourselves_are_told_of_our_talking_only() -> None:
    here = crowd()
    assert here.hear(Talking(5, OWN, talking=True)) == (Talking(5, OWN, talking=True),)
    assert here.mute(muted=True) == (Talking(5, OWN, talking=False),)
    assert here.hear(Talking(5, OWN, talking=False)) == ()
    assert here.mute(muted=False) == ()
    assert here.hear(seen(Peer(OWN, "ann"))) == ()


def test_put_out_ourselves_is_a_lost_place() -> None:
    [lost] = crowd(BOB).hear(PeerLeft(5, OWN))
    assert isinstance(lost, PlaceLost)
    assert crowd(BOB).hear(PeerLeft(5, 7)) == (PeerLeft(5, 7),)
    assert crowd(BOB).hear(PeerLeft(5, 8)) == ()


def test_others_of_our_own_user_are_never_shown() -> None:
    here = crowd(Peer(3, "ann"), BOB)
    assert here.others() == (BOB,)
    assert here.hear(seen(Peer(3, "ann", muted=True))) == ()
    assert here.hear(PeerLeft(5, 3)) == ()
    assert here.hear(Talking(5, 3, talking=True)) == ()


def test_after_joining_anew_only_what_changed_is_told_and_our_id_stays() -> None:
    carl, dora = Peer(8, "carl"), Peer(9, "dora")
    here = crowd(BOB, carl)
    news = here.rejoined(Joined(LATER, (BOB, dora, Peer(OWN, "ann"))))
    assert set(news) == {PeerLeft(5, 8), seen(dora)}
    assert here.hear(PeerLeft(5, OWN)) == ()
    assert here.hear(Talking(5, LATER, talking=True)) == (Talking(5, OWN, talking=True),)
    assert here.own_id == OWN
    [lost] = here.hear(PeerLeft(5, LATER))
    assert isinstance(lost, PlaceLost)


others_ids = st.integers(3, 7)  # Janus's are of 52 bits at random: none is ever ours
peers = st.builds(
    Peer,
    others_ids,
    st.sampled_from(("ann", "bob", "carl")),
    st.none(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
events = st.one_of(
    st.lists(peers, max_size=3).map(lambda found: seen(*found)),
    st.builds(PeerLeft, st.just(5), others_ids),
    st.builds(Talking, st.just(5), st.integers(1, 7), st.booleans()),
    st.lists(peers, max_size=3).map(lambda found: Joined(LATER, tuple(found))),
)


@settings(deadline=None)
@given(st.lists(peers, max_size=4), st.lists(events, max_size=8))
def test_what_is_told_adds_up_to_who_is_there(
    others: list[Peer], heard: list[Event | Joined]
) -> None:
    here = crowd(*others)
    shown = {peer.participant_id: peer for peer in here.others()}
    for item in heard:
        news = here.rejoined(item) if isinstance(item, Joined) else here.hear(item)
        for event in news:
            _apply(shown, event)
        assert shown == {peer.participant_id: peer for peer in here.others()}
    assert all(not (peer.talking and peer.muted) for peer in shown.values())


def _apply(shown: dict[int, Peer], event: Event) -> None:
    match event:
        case PeersSeen(peers=found):
            shown |= {peer.participant_id: peer for peer in found}
        case PeerLeft(participant_id=left):
            shown.pop(left)
        case Talking(participant_id=who, talking=talking) if who in shown:
            shown[who] = peer(shown[who], talking=talking)
        case _:
            pass
