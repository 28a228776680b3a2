"""One offer of a host's on its way through Janus. Pure."""

from dataclasses import dataclass
from typing import Any

from wsgateway import sdp
from wsgateway.answers import Reply


@dataclass(slots=True)
class Publication:
    """``reply``: as long as it waits for its answer; ``live``: WebRTC is up.

    ``candidates``: how many came, in the offer and after it.
    """

    number: int
    offer: str  # as sdp.offer gives it
    reply: Reply | None
    live: bool = False
    candidates: int = 0
    _reachable: bool = False  # Janus knows a candidate

    def __post_init__(self) -> None:
        self.candidates = sdp.candidates_in(self.offer)
        self._reachable = self.candidates > 0

    def takes(self, candidate: dict[str, Any] | None) -> bool:
        """Whether it is worth telling Janus. Raises SdpError when there were too many.

        The end of candidates is none to Janus while it knows of no candidate: it would give up,
        instead of learning the host's address from his own checks.
        """
        if candidate is None:
            return self._reachable
        self.candidates += 1
        if self.candidates > sdp.MAX_CANDIDATES:
            raise sdp.SdpError(f"more than {sdp.MAX_CANDIDATES} candidates for one offer")
        useful = sdp.leads_somewhere(candidate)
        self._reachable |= useful
        return useful
