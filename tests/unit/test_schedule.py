import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.model import Mark, ModuleId
from pkg.schedule import Candidate, Policy, pick, refusal, refusals

A, B = ModuleId("a"), ModuleId("b")


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (Candidate(A, capacity=2, used=1), None),
        (Candidate(A, capacity=2, used=2), "all 2 places are taken"),
        (Candidate(A, capacity=1, used=1), "its only place is taken"),
        (Candidate(A, capacity=0, used=0), "its capacity is 0"),
        (Candidate(A, 2, 0, unhealthy="Janus does not answer"), "Janus does not answer"),
        (Candidate(A, 2, 0, mark=Mark.DRAINING), "marked draining by an operator"),
        (Candidate(A, 2, 0, mark=Mark.DISABLED), "marked disabled by an operator"),
        # a capacity lowered below what is used must not open places again
        (Candidate(A, capacity=1, used=3), "its only place is taken"),
    ],
)
def test_each_reason_has_its_words(candidate: Candidate, why: str | None) -> None:
    assert refusal(candidate) == why


candidates = st.lists(
    st.builds(
        Candidate,
        module_id=st.sampled_from("abcdef").map(ModuleId),
        capacity=st.integers(0, 4),
        used=st.integers(0, 5),
        unhealthy=st.none() | st.just("ill"),
        mark=st.sampled_from(Mark),
    ),
    unique_by=lambda c: c.module_id,
)


@given(found=candidates, policy=st.sampled_from(Policy), seed=st.integers())
def test_only_what_can_take_a_room_is_picked_and_all_others_have_a_reason(
    found: list[Candidate], policy: Policy, seed: int
) -> None:
    choice = pick(found, policy, random.Random(seed))
    fit = {c.module_id for c in found if refusal(c) is None}
    assert (choice.module_id in fit) if choice else not fit
    assert set(refusals(found)) == {c.module_id for c in found} - fit


@given(found=candidates, seed=st.integers())
def test_two_choices_never_picks_the_fullest_of_several(found: list[Candidate], seed: int) -> None:
    fit = [c for c in found if refusal(c) is None]
    choice = pick(found, Policy.TWO_CHOICES, random.Random(seed))
    if choice is None or len({c.load for c in fit}) < 2:
        return
    fullest = max(fit, key=lambda c: c.load)
    others_as_full = [c for c in fit if c.load == fullest.load]
    if len(others_as_full) == 1:
        assert choice.module_id != fullest.module_id


def test_the_emptiest_wins_and_ties_break_by_id() -> None:
    found = [Candidate(B, 4, 1), Candidate(A, 4, 1)]
    choice = pick(found, Policy.LEAST_LOADED, random.Random(0))
    assert choice is not None
    assert choice.module_id == A
    assert choice.why == "1 of 4 places used; the least loaded of 2"
