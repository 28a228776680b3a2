// One room's history, from its durable stream (docs/events.md): all of it, then what comes. The
// stream server is another one than ours, and is told no key.

import { pause, readEvents } from "./sse.js";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 8000;
const QUIET_MS = 100000; // a read ends after a minute: longer, and the line is dead
const MOST_KEPT = 1000;
const GONE = [400, 404, 410];
const LOCKED = [401, 403];

export class History {
  /** Oldest first, by their tellers' clocks: {number, event}. */
  events = [];
  /** How many older ones are no longer kept. */
  dropped = 0;
  /** "reading", "live", "away", "empty" (no such stream), "locked" (it wants a read token). */
  state = "reading";
  #url;
  #changed;
  #closing = new AbortController();
  #offset = "-1";
  #number = 0;
  #wait = FIRST_RETRY_MS;

  /** `changed()` whenever there is something new to show. */
  constructor(url, changed) {
    this.#url = url;
    this.#changed = changed;
    this.#follow();
  }

  close() {
    this.#closing.abort();
  }

  async #follow() {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const status = await this.#read(signal).catch(() => 0);
      if (signal.aborted) return;
      if (status !== 200) this.#failed(status);
      await pause(this.#wait);
    }
  }

  /** From where the last one ended; the stream server ends each read after a while. */
  #read(signal) {
    const query = new URLSearchParams({ offset: this.#offset, live: "sse" });
    const begun = () => (this.#wait = FIRST_RETRY_MS);
    const tell = (event, data) => {
      if (event === "data") this.#take(data);
      else if (event === "control") this.#stands(data);
    };
    return readEvents(`${this.#url}?${query}`, { signal, quietMs: QUIET_MS, begun, tell });
  }

  /** Between daemons the order is that of arrival: people are shown it by time. */
  #take(events) {
    for (const event of events) this.events.push({ number: this.#number++, event });
    this.events.sort((one, other) => compare(at(one), at(other)) || one.number - other.number);
    const surplus = Math.max(0, this.events.length - MOST_KEPT);
    this.events.splice(0, surplus);
    this.dropped += surplus;
  }

  #stands({ streamNextOffset, upToDate }) {
    this.#offset = streamNextOffset;
    if (!upToDate) return;
    this.state = "live";
    this.#changed();
  }

  #failed(status) {
    if (GONE.includes(status)) this.#forget();
    this.state = GONE.includes(status) ? "empty" : LOCKED.includes(status) ? "locked" : "away";
    this.#wait = Math.min(2 * this.#wait, LONGEST_RETRY_MS);
    this.#changed();
  }

  /** There is no such stream any more: if one comes, it begins anew. */
  #forget() {
    this.events = [];
    this.dropped = 0;
    this.#offset = "-1";
  }
}

const at = ({ event }) => (typeof event?.at === "string" ? event.at : "");
const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
