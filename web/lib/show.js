// Being in a room as a host: connection, presence and sound, kept over every loss but the last.
//
// A gateway that dies is replaced by another one, a Janus that dies by whatever the gateway finds
// (`roomMoved`): the microphone is published again without a click. What cannot be mended ends
// the show with a reason (`over`).

import { CloseError, Gateway, RpcError } from "./gateway.js";

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;
const GIVE_UP_MS = 60000;
const PATH_MS = 8000; // from offer and answer to sound: a second, on a bad day three
const SETTLE_MS = 4000; // an ICE connection may come back by itself

/** Close codes after which nobody should try again, by reason. */
const FINAL = {
  1000: "left",
  1008: "refused",
  4401: "expired",
  4403: "kicked",
  4404: "closed",
  4408: "refused",
  4409: "elsewhere",
  4410: "taken-over",
  4429: "full",
};

/**
 * Events: `state` ("connecting", "joined", "live", "reconnecting", "blocked": no way for the sound), `people` (list of
 * participants), `asked` (a moderator's notification {method, params}), `over` {reason, words}.
 */
export class Show extends EventTarget {
  #options;
  #gateway = null;
  #peer = null;
  #people = new Map();
  #over = false;
  #tried = 0;
  #iceServers = [];
  #state = "";
  #muted = false;
  #wasIn = false;
  #attempt = 0; // to publish; only the last one counts

  /** options: {gateways: () => Promise<urls>, token, display, track, audio, takeover} */
  constructor(options) {
    super();
    this.#options = options;
  }

  get state() {
    return this.#state;
  }

  /** Join and publish; keeps both until `leave` or `over`. */
  async start() {
    this.#become("connecting");
    await this.#keepTrying(this.#options.takeover ?? false);
  }

  async setMuted(muted) {
    this.#muted = muted;
    this.#options.track.enabled = !muted; // at once, whatever the network does
    await this.#gateway?.request(muted ? "mute" : "unmute").catch(ignoreClosed);
  }

  async replaceTrack(track) {
    track.enabled = !this.#muted;
    this.#options.track = track;
    await this.#peer?.getSenders()[0]?.replaceTrack(track);
  }

  async leave() {
    const gateway = this.#gateway;
    this.#end("left", "");
    await gateway?.request("leave").catch(ignoreClosed);
    gateway?.close();
  }

  // --- the connection ---

  /** One loop at a time: two would take the room over from each other. */
  async #keepTrying(takeover) {
    const until = performance.now() + GIVE_UP_MS;
    for (let wait = FIRST_RETRY_MS; !this.#over; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
      try {
        return await this.#connect(takeover || this.#wasIn);
      } catch (error) {
        if (this.#isFinal(error)) return;
        if (performance.now() > until) return this.#end("unreachable", error.message);
      }
      await pause(wait * (0.5 + Math.random()));
    }
  }

  async #connect(takeover) {
    const urls = await this.#options.gateways();
    if (urls.length === 0) throw new CloseError({ code: 1006, reason: "no gateway is running" });
    const url = urls[this.#tried++ % urls.length];
    const gateway = await Gateway.open(url, this.#options.token, { takeover });
    try {
      await this.#join(gateway);
    } catch (error) {
      gateway.close();
      throw error;
    }
  }

  async #join(gateway) {
    gateway.addEventListener("notification", ({ detail }) => this.#notified(gateway, detail));
    const joined = await gateway.request("join", { display: this.#options.display });
    if (this.#over) return gateway.close(); // left meanwhile
    this.#gateway = gateway;
    gateway.addEventListener("closed", ({ detail }) => this.#lost(gateway, detail));
    this.#wasIn = true; // what is left of our own connection must not lock us out
    this.#iceServers = joined.iceServers;
    this.#showPeople(joined.participants);
    this.#become("joined");
    this.#publishAgain();
  }

  #lost(gateway, closed) {
    if (gateway !== this.#gateway || this.#over) return;
    this.#gateway = null;
    if (this.#isFinal(new CloseError(closed))) return;
    this.#become("reconnecting");
    this.#keepTrying(true);
  }

  #isFinal(error) {
    const reason = error instanceof CloseError ? FINAL[error.code] : null;
    if (reason) this.#end(reason, error.message);
    else if (error instanceof RpcError && error.reason === "room-not-onair")
      this.#end("closed", error.message);
    else if (!(error instanceof CloseError || error instanceof RpcError)) {
      this.#end("failed", error.message);
      throw error;
    }
    return this.#over;
  }

  #end(reason, words) {
    if (this.#over) return;
    this.#over = true;
    this.#peer?.close();
    this.#tell("over", { reason, words });
  }

  // --- the sound ---

  /** Until it is done, or a later attempt or another connection makes this one void. */
  async #publishAgain() {
    const attempt = ++this.#attempt;
    const gateway = this.#gateway;
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
      if (this.#over || !gateway?.isOpen || attempt !== this.#attempt) return;
      try {
        return await this.#publish(gateway);
      } catch (error) {
        if (attempt !== this.#attempt || gateway !== this.#gateway) return;
        if (this.#isFinal(error)) return;
      }
      await pause(wait * (0.5 + Math.random()));
    }
  }

  /** With a new peer connection each time: the other end is a new one, too. */
  async #publish(gateway) {
    this.#peer?.close();
    const peer = new RTCPeerConnection({ iceServers: this.#iceServers });
    this.#peer = peer;
    peer.addTrack(this.#options.track);
    peer.addEventListener("track", ({ track }) => this.#play(track));
    peer.addEventListener("connectionstatechange", () => this.#connectionChanged(peer));
    const candidates = held(peer, (candidate) =>
      gateway.request("trickle", { candidate }).catch(ignoreClosed),
    );
    await peer.setLocalDescription();
    const { sdp } = await gateway.request("publish", { sdp: peer.localDescription.sdp });
    await peer.setRemoteDescription({ type: "answer", sdp });
    candidates.release();
    setTimeout(() => this.#stillSilent(peer), PATH_MS);
    if (this.#muted) await gateway.request("mute");
  }

  #play(track) {
    this.#options.audio.srcObject = new MediaStream([track]);
    this.#options.audio.play().catch(() => {}); // allowed since the click on "go live"
  }

  #connectionChanged(peer) {
    if (peer !== this.#peer || this.#over) return;
    if (peer.connectionState === "connected") this.#become("live");
    if (peer.connectionState === "failed") {
      this.#become("blocked");
      this.#publishAgain();
    }
    if (peer.connectionState === "disconnected") {
      this.#become("reconnecting");
      setTimeout(() => this.#stillAway(peer), SETTLE_MS);
    }
  }

  /** Without any way for it ICE may not even fail: it just never connects. */
  #stillSilent(peer) {
    if (peer !== this.#peer || this.#over) return;
    if (!["new", "connecting"].includes(peer.connectionState)) return;
    this.#become("blocked");
    this.#publishAgain();
  }

  #stillAway(peer) {
    if (peer === this.#peer && peer.connectionState === "disconnected") this.#publishAgain();
  }

  // --- what the gateway tells ---

  #notified(gateway, { method, params }) {
    if (gateway !== this.#gateway) return;
    switch (method) {
      case "participantJoined":
      case "participantUpdated":
        this.#people.set(params.participant.userId, params.participant);
        return this.#tellPeople();
      case "participantLeft":
        this.#people.delete(params.userId);
        return this.#tellPeople();
      case "roomMoved":
        this.#showPeople(params.participants);
        this.#become("reconnecting");
        return this.#publishAgain();
      case "mediaLost":
        this.#become("reconnecting");
        return this.#publishAgain();
      case "roomClosed":
        return this.#end("closed", params.reason ?? "");
      case "mutedBy":
      case "unmutedBy": // the gateway has done it: telling it again would make it our own wish
        this.#muted = method === "mutedBy";
        this.#options.track.enabled = !this.#muted;
        return this.#tell("asked", { method, params });
      case "unmuteRequested":
        return this.#tell("asked", { method, params });
      case "trickle":
        return this.#peer?.addIceCandidate(params.candidate ?? undefined).catch(() => {});
      default:
        return undefined; // a newer gateway may tell more
    }
  }

  #showPeople(participants) {
    this.#people = new Map(participants.map((one) => [one.userId, one]));
    this.#tellPeople();
  }

  #tellPeople() {
    this.#tell("people", [...this.#people.values()]);
  }

  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#tell("state", state);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** Candidates that are found before the offer was taken wait until `release`. */
function held(peer, send) {
  let waiting = [];
  peer.addEventListener("icecandidate", ({ candidate }) => {
    const found = candidate ? candidate.toJSON() : null;
    if (waiting) waiting.push(found);
    else send(found);
  });
  return {
    release() {
      waiting.forEach(send);
      waiting = null;
    },
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function ignoreClosed(error) {
  if (!(error instanceof CloseError || error instanceof RpcError)) throw error;
}
