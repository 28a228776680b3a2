"""Hostile offers and candidates against the real Janus, checked by ``wsgateway.sdp`` and not.

Janus must live through all of them, and serve the next host. More cases, or others:
ONAIR_TEST_FUZZ_CASES=20000 ONAIR_TEST_FUZZ_SEED=7.
"""

import os
import random
import re
from collections.abc import Callable

import pytest

from tests.support import sdp_mutations
from tests.support.audiobridge_stage import Host, RealStage, process, stage
from wsgateway import sdp
from wsgateway.exchange import Offer, PlaceLost, Trickle

__all__ = ["process", "stage"]
pytestmark = [pytest.mark.anyio, pytest.mark.janus]

CASES = int(os.environ.get("ONAIR_TEST_FUZZ_CASES", "200"))  # noqa: TID251
SEED = int(os.environ.get("ONAIR_TEST_FUZZ_SEED", "1"))  # noqa: TID251
TONE = 440.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def unchecked(text: object) -> str:
    """But for what is known: of a negative extension id, or one that overflows to such, the
    AudioBridge of Janus 1.1.2 writes a log for ever."""
    return re.sub(r"extmap:(-|[0-9]{6,})", "extmap:", str(text))


@pytest.mark.timeout(120 + CASES)
@pytest.mark.parametrize("check", [sdp.offer, unchecked])
async def test_no_offer_kills_janus(stage: RealStage, check: Callable[[object], str]) -> None:
    rng = random.Random(SEED)
    mallory, sent, last = stage.host("mallory"), 0, ""
    await mallory.enter()
    for number in range(CASES):
        try:
            last = check(sdp_mutations.offer(rng))
        except sdp.SdpError:
            continue
        sent += 1
        await mallory.bridge.offer(Offer(number, last))
        assert is_well(mallory), last
    print(f"{sent} of {CASES} offers reached Janus")
    assert sent > CASES / 20
    await serves_on(stage)


def is_well(mallory: Host) -> bool:
    """If Janus died, it was of what it was sent just now, or a moment before."""
    return PlaceLost not in map(type, mallory.told)


@pytest.mark.timeout(120 + CASES)
async def test_no_candidate_kills_janus(stage: RealStage) -> None:
    rng = random.Random(SEED)
    mallory = stage.host("mallory")
    await mallory.enter()
    await mallory.offer("\r\n".join([*sdp_mutations.BROWSER_OFFER, ""]))
    for _ in range(CASES):
        candidate = sdp_mutations.candidate(rng)
        await mallory.bridge.trickle(Trickle(1, candidate))
        assert is_well(mallory), candidate
    await serves_on(stage)


async def serves_on(stage: RealStage) -> None:
    ann, bob = stage.host("ann"), stage.host("bob")
    await ann.enter()
    await bob.enter()
    await stage.publish(ann, TONE)
    await stage.publish(bob, TONE)
    assert bob.caller is not None
    await bob.caller.hears(TONE)
