// A room's sound in an <audio> element, whatever happens to the room: one address, no reload.
//
// hls.js where there is Media Source Extensions, else the browser's own HLS (iOS). The playlist
// itself is asked when nothing is heard: 503 says "on its way", 404 "not on air", and the room
// is played again as soon as it is back.

import Hls from "../vendor/hls.light.min.mjs";

const LOOK_MS = 1000;
const SILENT_MS = 1800; // nothing played for so long: something is wrong, and the page says so
const AGAIN_MS = 1500;
const WAIT_MS = 3000; // between questions for a room that is not on air

/** What a listener is told. `needs-token`: the room has a PIN, or the token is over. */
export const STATES = ["idle", "starting", "live", "interrupted", "ended", "off", "needs-token"];

export class Player extends EventTarget {
  #audio;
  #hls = null;
  #url = null;
  #wanted = false;
  #state = "idle";
  #heardAt = 0;
  #heardTime = 0;
  #askedAt = 0;
  #wasLive = false;
  #gaveUp = false;
  #timer = 0;

  constructor(audio) {
    super();
    this.#audio = audio;
  }

  get state() {
    return this.#state;
  }

  /** Seconds behind the live edge; null where the browser does not tell. */
  get latency() {
    const seconds = this.#hls?.latency;
    return this.#state === "live" && Number.isFinite(seconds) && seconds > 0 ? seconds : null;
  }

  /** Play this playlist until `stop`. Call it in a click: browsers want one before any sound. */
  play(url) {
    this.stop();
    this.#url = url;
    this.#wanted = true;
    this.#wasLive = false;
    this.#heardAt = performance.now();
    this.#become("starting");
    this.#load();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#wanted = false;
    this.#unload();
    this.#become("idle");
  }

  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#wasLive ||= state === "live";
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  // --- the media ---

  #load() {
    this.#unload();
    this.#heardTime = 0;
    this.#gaveUp = false;
    if (Hls.isSupported()) this.#loadWithHls();
    else this.#audio.src = this.#url;
    this.#audio.play().catch(() => {}); // refused without a click; `look` shows that it is silent
  }

  #loadWithHls() {
    const hls = new Hls({
      enableWorker: false, // sound only: nothing worth a thread, and no blob in the CSP
      liveSyncDurationCount: 2,
      liveMaxLatencyDurationCount: 6,
      maxLiveSyncPlaybackRate: 1.05, // catches up unheard instead of jumping
    });
    hls.on(Hls.Events.ERROR, (_, error) => this.#onError(hls, error));
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#audio.play().catch(() => {}));
    hls.loadSource(this.#url);
    hls.attachMedia(this.#audio);
    this.#hls = hls;
  }

  #unload() {
    this.#hls?.destroy();
    this.#hls = null;
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  #onError(hls, error) {
    if (!error.fatal || hls !== this.#hls) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else {
      this.#gaveUp = true; // hls.js loads no more until it is told to
      if (performance.now() - this.#askedAt > AGAIN_MS) this.#ask(); // the playlist says why
    }
  }

  // --- what is heard, and why nothing is ---

  #look() {
    const now = performance.now();
    const time = this.#audio.currentTime;
    if (time !== this.#heardTime && !this.#audio.paused) {
      this.#heardTime = time;
      this.#heardAt = now;
      this.#become("live");
    } else if (now - this.#heardAt > SILENT_MS || this.#gaveUp) {
      if (now - this.#askedAt > this.#patience()) this.#ask();
    }
  }

  /** A room that was live may be back at any moment; one that is over, or not on, need not. */
  #patience() {
    return this.#state === "off" || this.#state === "ended" ? WAIT_MS : AGAIN_MS;
  }

  async #ask() {
    this.#askedAt = performance.now();
    const url = this.#url;
    let status = 0;
    let text = "";
    try {
      const answer = await fetch(url, { cache: "no-store", credentials: "omit" });
      status = answer.status;
      text = await answer.text();
    } catch {
      status = 0; // offline, or the server is away: it may come back
    }
    if (this.#wanted && url === this.#url) this.#answered(status, text);
  }

  #answered(status, text) {
    if (this.#state === "live" && status !== 200 && status !== 401 && !this.#isSilent()) return;
    const over = status === 200 && text.includes("#EXT-X-ENDLIST");
    if (status === 401) this.#become("needs-token");
    else if (status === 404) this.#become(this.#wasLive ? "ended" : "off");
    else if (over) this.#become("ended");
    else if (status === 200) this.#arrived();
    else this.#become(this.#wasLive ? "interrupted" : "starting");
  }

  /** The playlist is there, and yet nothing is heard. */
  #arrived() {
    const over = this.#state === "ended" || this.#state === "off";
    if (over || !this.#hls || this.#isStuck()) this.#load();
    else if (this.#gaveUp && this.#hls.levels.length === 0) this.#load();
    else if (this.#gaveUp) this.#hls.startLoad();
    this.#gaveUp = false;
    if (over) this.#wasLive = false;
    if (this.#isSilent()) this.#become(this.#wasLive ? "interrupted" : "starting");
  }

  #isSilent() {
    return performance.now() - this.#heardAt > SILENT_MS;
  }

  /** hls.js gave up loading, or waits at the end of a buffer that will never be continued. */
  #isStuck() {
    const silent = performance.now() - this.#heardAt;
    return silent > 3 * WAIT_MS || this.#audio.error !== null;
  }
}
