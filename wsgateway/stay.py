"""One stay of a host in an AudioBridge room, on a WebSocket and a Janus session of its own.

``janus`` opens it. One handle follows the other: a PeerConnection of Janus's serves one offer, and
with its end the participant is out of the room, so that we join anew.
"""

from collections.abc import Mapping
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from pkg.errors import OnairError
from pkg.janus.link import Link
from pkg.janus.wire import Body, Failure, JanusUnavailableError, plugin_data
from wsgateway import messages
from wsgateway.api import Tell
from wsgateway.crowd import Crowd
from wsgateway.exchange import (
    Answered,
    Enter,
    Entered,
    EntryFailed,
    Event,
    MediaLost,
    Offer,
    OfferFailed,
    Peer,
    PeerLeft,
    PeersSeen,
    PlaceLost,
    Refusal,
    Talking,
    Trickle,
)
from wsgateway.messages import Handle, Joined

log = structlog.get_logger()

ENTER_SECONDS = 5.0
FAREWELL_SECONDS = 1.0
SETTLE_SECONDS = 30.0  # a Janus that takes longer for a join is no longer one to be spared
KEEPALIVE_SECONDS, KEEPALIVE_AGAIN_SECONDS = 25.0, 5.0
NOT_IN = "not in the room: try again"
TAKEN_OVER = "this user came by another connection since"
LATE = f"Janus let nobody in within {ENTER_SECONDS:g} s"
NO_ANSWER = "Janus did not answer: try again"


class RefusedError(OnairError):
    """Janus answered, with a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(messages.words(failure))
        self.failure = failure


async def ask(link: Link, request: Body) -> Mapping[str, Any]:
    """Raises JanusUnavailableError, RefusedError."""
    reply = await link.request(request)
    if reply.failure is not None:
        raise RefusedError(reply.failure)
    return reply.body


async def attached(link: Link, session_id: int | None = None) -> Handle:
    """A fresh handle, of a new session if none is named. Raises as ``ask``."""
    if session_id is None:
        session_id = messages.read_id(await ask(link, messages.creation()))
    reply = await ask(link, messages.attachment(session_id))
    return Handle(session_id, messages.read_id(reply))


class Stay:
    """From entering an AudioBridge room to leaving it, or losing it. Verbs raise nothing.

    What Janus says while we join is kept until its answer is read; what the session may hear is
    held back until it has heard Entered.
    """

    def __init__(self, effect: Enter, tell: Tell) -> None:
        self.url = effect.place.url
        self.decided = anyio.Event()  # whether we are in
        self.ended = anyio.Event()  # the socket is closed
        self.scope = anyio.CancelScope()
        self._effect = effect
        self._place = effect.place
        self._shown = messages.display(effect.user_id, effect.display, effect.fence)
        self._muted = effect.muted
        self._tell = tell
        self._began = False
        self._lost: str | None = None
        self._turn = anyio.Lock()  # one verb, or a join anew, at a time
        self._reading = anyio.CancelScope(shield=True)
        self._failure: EntryFailed | None = None
        self._joining = False  # a join of ours has no answer yet
        self._is_cut = False  # no answer will come any more
        self._is_leaving = False  # nothing can be begun any more
        self._early: list[Event] | None = None  # while we join
        self._crowd: Crowd | None = None
        self._handle: Handle | None = None
        self._offer: int | None = None  # the one that the handle was given
        self._session_id = 0
        self._link: Link
        self._tasks: TaskGroup

    # --- its life ---

    async def run(self, opened: Link, handle: Handle | None) -> None:
        """``handle``: one that stands ready there."""
        self._link = opened
        opened.on_event = self.hear
        async with anyio.create_task_group() as readers:
            readers.start_soon(self._read)
            try:
                async with anyio.create_task_group() as self._tasks:
                    if await self._enter(handle):
                        self.decided.set()
                        await self._keep_alive()
                    self.decided.set()
            finally:
                self._is_leaving = True
                with anyio.CancelScope(shield=True):
                    await self._settle()
                self._reading.cancel()

    def begin(self) -> Entered | EntryFailed:
        """From now on news are told."""
        if self._failure is None and (self._lost or not self.decided.is_set()):
            self.fail(Refusal.UNAVAILABLE, self._lost or LATE)
        if self._failure is not None or self._crowd is None:
            return self._failure or self.fail(Refusal.UNAVAILABLE, NOT_IN)
        self._began = True
        return Entered(self._effect.attempt, self._crowd.own_id, self._crowd.others())

    def fail(self, why: Refusal, words: str) -> EntryFailed:
        self._failure = EntryFailed(self._effect.attempt, why, words)
        return self._failure

    async def _settle(self) -> None:
        """Have a join answered before the session ends: else Janus 1.1.2 crashes. Its AudioBridge
        takes one request after the other, so that a later one is answered after the join."""
        with anyio.move_on_after(SETTLE_SECONDS):
            while self._joining and not self._is_cut and self._handle is not None:
                try:
                    await self._ask(messages.leave(self._handle))
                except RefusedError:
                    pass
                except JanusUnavailableError:
                    continue
                self._joining = False

    async def end(self) -> None:
        """Leave, and wait until the socket is closed: the session ends with it. Tells no more."""
        self._began = False
        try:
            with anyio.move_on_after(FAREWELL_SECONDS):
                if self._lost is None and self._handle is not None:
                    await self._ask(messages.leave(self._handle))
        except (JanusUnavailableError, RefusedError) as error:
            log.debug("janus.farewell_failed", reason=str(error))
        finally:
            self.scope.cancel()
        with anyio.move_on_after(FAREWELL_SECONDS):
            await self.ended.wait()

    def _lose(self, words: str) -> None:
        if self._lost is None:
            self._lost = words
            self._say(PlaceLost(self._effect.attempt, words))
            self.scope.cancel()

    async def _read(self) -> None:
        with self._reading:
            words = await self._link.read()
            self._is_cut = True
            self._lose(words)

    async def _keep_alive(self) -> None:
        """One without an answer says little, when Janus or we are busy: Janus waits 60 s for the
        next, and whether the line is dead is the line's to say."""
        wait = KEEPALIVE_SECONDS
        while True:
            await anyio.sleep(wait)
            try:
                await self._ask(messages.keepalive(self._session_id))
                wait = KEEPALIVE_SECONDS
            except JanusUnavailableError as error:
                log.info("janus.keepalive_unanswered", reason=str(error))
                wait = KEEPALIVE_AGAIN_SECONDS
            except RefusedError as error:
                self._lose(str(error))

    # --- joining ---

    async def _enter(self, ready: Handle | None) -> bool:
        """Answers whether we are in; if not, ``_failure`` says why."""
        try:
            handle = ready or await attached(self._link)
            self._session_id = handle.session_id
            joined = await self._join(handle)
            if any(map(self._is_later, joined.peers)):
                self.fail(Refusal.UNAVAILABLE, TAKEN_OVER)
            else:
                await self._put_out(joined)
        except RefusedError as error:
            self.fail(*messages.refusal(error.failure))
        except JanusUnavailableError as error:
            self.fail(Refusal.UNAVAILABLE, str(error))
        return self._failure is None

    async def _join(self, handle: Handle) -> Joined:
        """Be in the room on a fresh handle. A former one's participant is there until let go."""
        self._early, self._handle, self._offer = [], handle, None
        request = messages.join(self._handle, self._place, self._shown, muted=self._muted)
        joined = messages.read_joined(await self._ask_to_join(request))
        if self._crowd is None:
            user_id = self._effect.user_id
            self._crowd = Crowd(self._effect.attempt, user_id, joined, muted=self._muted)
        else:
            self._say(*self._crowd.rejoined(joined))
        early, self._early = self._early, None
        for event in early:
            self._take(event)
        return joined

    async def _ask_to_join(self, request: Body) -> Mapping[str, Any]:
        self._joining = True
        try:
            reply = await self._ask(request)
        except RefusedError:
            self._joining = False
            raise
        self._joining = False
        return reply

    def _is_later(self, peer: Peer) -> bool:
        """Our user's, by a connection that followed ours: cut off etcd we are the last to know."""
        return peer.user_id == self._effect.user_id and peer.fence > self._effect.fence

    async def _put_out(self, joined: Joined) -> None:
        """Stale participants of our own user's: two of them would speak with one voice."""
        for peer in joined.peers:
            if peer.user_id == self._effect.user_id and self._handle is not None:
                try:
                    await self._ask(messages.kick(self._handle, self._place, peer.participant_id))
                except RefusedError as error:
                    log.warning("janus.kick_failed", reason=str(error))

    async def _renew(self) -> None:
        """A fresh handle in the place of one that has had its offer."""
        former = self._handle
        await self._join(await attached(self._link, self._session_id))
        if former is not None:
            try:
                await self._ask(messages.detachment(former))
            except RefusedError as error:
                log.debug("janus.detach_failed", reason=str(error))

    async def _renew_after(self, lost: Handle | None) -> None:
        async with self._turn:
            if self._handle != lost:
                return  # an offer was quicker
            try:
                await self._renew()
            except (JanusUnavailableError, RefusedError) as error:
                self._lose(str(error))

    # --- verbs ---

    async def offer(self, effect: Offer) -> Answered | OfferFailed:
        async with self._turn:
            try:
                if self._offer is not None:
                    await self._renew()
            except (JanusUnavailableError, RefusedError) as error:
                self._lose(str(error))
                return OfferFailed(effect.offer, Refusal.UNAVAILABLE, NO_ANSWER)
            return await self._answer(effect)

    async def _answer(self, effect: Offer) -> Answered | OfferFailed:
        if self._handle is None or self._crowd is None:
            return OfferFailed(effect.offer, Refusal.UNAVAILABLE, NOT_IN)
        self._offer = effect.offer
        try:
            request = messages.configure(self._handle, muted=self._muted, sdp=effect.sdp)
            sdp = messages.read_answer(await self._ask(request))
        except RefusedError as error:
            return OfferFailed(effect.offer, Refusal.REFUSED, str(error))
        except JanusUnavailableError as error:
            log.warning("janus.offer_failed", reason=str(error))
            return OfferFailed(effect.offer, Refusal.UNAVAILABLE, NO_ANSWER)
        return Answered(effect.offer, sdp, self._crowd.own_id)

    async def trickle(self, effect: Trickle) -> None:
        if self._handle is None or self._offer != effect.offer:
            return  # of an offer that a later one replaced
        try:
            await self._ask(messages.trickle(self._handle, effect.candidate))
        except (JanusUnavailableError, RefusedError) as error:
            log.debug("janus.trickle_failed", reason=str(error))

    async def set_muted(self, *, muted: bool) -> None:
        """If it fails the place is given up: nobody may be heard who thinks he is not."""
        async with self._turn:
            if self._handle is None or self._crowd is None:
                return
            self._muted = muted
            try:
                await self._ask(messages.configure(self._handle, muted=muted))
            except RefusedError as error:
                if error.failure.code != messages.NOT_IN_A_ROOM:  # hung up: we join anew, muted
                    self._lose(str(error))
            except JanusUnavailableError as error:
                self._lose(str(error))
            self._say(*self._crowd.mute(muted=muted))

    async def _ask(self, request: Body) -> Mapping[str, Any]:
        return await ask(self._link, request)

    # --- news ---

    def hear(self, message: Body) -> None:
        """What Janus says unasked."""
        if self._is_leaving or not messages.concerns(message, self._handle):
            return
        event = messages.event(message, self._effect.attempt, self._offer or 0)
        if event is None:
            log.debug("janus.event_ignored", kind=message.get("janus"), data=plugin_data(message))
        elif self._early is not None:
            self._early.append(event)
        else:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case PlaceLost(words=words):
                self._lose(words)
            case MediaLost():
                self._say(event)
                self._tasks.start_soon(self._renew_after, self._handle)
            case PeersSeen() | PeerLeft() | Talking() if self._crowd is not None:
                for news in self._crowd.hear(event):
                    self._take_news(news)
            case _:
                self._say(event)

    def _take_news(self, news: Event) -> None:
        if isinstance(news, PlaceLost):
            self._lose(news.words)
        else:
            self._say(news)

    def _say(self, *events: Event) -> None:
        if self._began:
            for event in events:
                self._tell(event)
