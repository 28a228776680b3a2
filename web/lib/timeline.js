// A room's history for people: each event in words, the newest first.

import { element, fill } from "./dom.js";
import { button } from "./fleet.js";

const FIRST_SHOWN = 10;
const MORE = 50;
const SAID = ["type", "roomId", "at", "by", "epoch"];
const DAY = { day: "numeric", month: "short" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const STATE = {
  reading: "Reading …",
  away: "The history is away just now; rooms run on without it. It comes back by itself.",
  empty: "Nothing has been told of this room yet.",
  locked: "The stream server wants a read token, which the console has not: ",
};

/** type → [words, colour]; colours as `./onair rooms events` has them. */
const WORDS = {
  "room.created": () => ["Created"],
  "room.assigned": (e) => [`Placed on ${e.janus} and ${e.mixer}`],
  "room.started": () => ["On air", "good"],
  "room.moved": (e) => [`${e.kind === "janus" ? "Janus" : "Mixer"} changed from ${e.from} to ${e.to}: ${e.why}`, "warn"],
  "room.degraded": (e) => [`Degraded: ${e.reason}`, "air"],
  "room.recovered": () => ["Well again", "good"],
  "room.stopping": () => ["Stopping"],
  "room.stopped": () => ["Stopped"],
  "room.removing": () => ["Being deleted"],
  "room.deleted": () => ["Deleted"],
  "janus_room.created": (e) => [`AudioBridge room ${e.number} made on ${e.janus}`],
  "forwarder.made": (e) => [`${e.janus} sends the mix to ${e.host}:${e.port}`],
  "ffmpeg.started": (e) => [`FFmpeg started on ${e.mixer}, port ${e.port}`],
  "ffmpeg.restarted": (e) => [`FFmpeg failed ${times(e.failures)} on ${e.mixer}: ${e.reason}`, "air"],
  "segment.listed": (e) => [`${e.mixer} lists its first segment`, "good"],
  "host.joined": (e) => [`${e.userId} joined`],
  "host.left": (e) => [`${e.userId} left`],
  "events.dropped": (e) => [`Lost here: ${e.count} events at most`, "air"],
};

/** Words and colour of an event, whatever somebody wrote into the stream. */
export function words(event) {
  if (event === null || typeof event !== "object" || Array.isArray(event)) return [JSON.stringify(event)];
  const known = Object.hasOwn(WORDS, event.type) ? WORDS[event.type] : null;
  return known ? known(event) : [`${event.type ?? "?"} ${fields(event)}`];
}

const times = (count) => (count === 1 ? "once" : `${count} times in a row`);

function fields(event) {
  const others = Object.entries(event).filter(([name]) => !SAID.includes(name));
  return others.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");
}

/** The part of a room's card that shows its history; `node` stays the same one. */
export class Timeline {
  node = element("section", { class: "stack", "data-key": "history", "aria-label": "History" });
  #roomId;
  #history;
  #shown = FIRST_SHOWN;

  constructor(roomId) {
    this.#roomId = roomId;
  }

  /** A `History`, whenever it has changed. */
  draw(history) {
    this.#history = history;
    const newest = history.events.toReversed();
    fill(
      this.node,
      element("h3", {}, "History"),
      this.#state(),
      element("ol", { class: "history small" }, ...newest.slice(0, this.#shown).map(line)),
      this.#older(newest.length - this.#shown),
    );
  }

  #state() {
    const { state } = this.#history;
    if (state === "live") return null;
    const command = state === "locked" ? element("code", {}, this.#command("--token-file FILE")) : null;
    return element("p", { class: "faint small", "data-key": "state" }, STATE[state], command);
  }

  #command(flags = "") {
    return `./onair rooms events ${this.#roomId} ${flags}`.trim();
  }

  #older(hidden) {
    if (hidden > 0) {
      const more = () => {
        this.#shown += MORE;
        this.draw(this.#history);
      };
      return button(`Show older (${hidden})`, "older", more);
    }
    if (!this.#history.dropped) return null;
    const command = element("code", {}, this.#command());
    return element("p", { class: "faint small", "data-key": "rest" }, "What was before: ", command);
  }
}

function line({ number, event }) {
  const [text, colour = ""] = words(event);
  const time = typeof event?.at === "string" ? event.at : null;
  const by = event?.by ? `${time}, told by ${event.by}` : null;
  return element(
    "li",
    { class: colour, "data-key": number },
    element("time", { datetime: time, title: by }, clock(time)),
    element("span", { class: "what" }, text),
  );
}

/** As a clock shows it here, with the day if that is not today. */
function clock(time, now = new Date()) {
  const then = new Date(time ?? NaN);
  if (Number.isNaN(then.getTime())) return "?";
  const today = then.toDateString() === now.toDateString();
  return then.toLocaleString([], today ? CLOCK : { ...DAY, ...CLOCK });
}
