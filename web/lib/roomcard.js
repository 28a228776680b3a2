// One room, closely: why it is as it is, who is in it, its links, and what can be done.

import { call, roomPath } from "./api.js";
import { element, fill, say } from "./dom.js";
import { button } from "./fleet.js";
import { History } from "./history.js";
import { Timeline } from "./timeline.js";
import { ON_AIR, STATUS, ago } from "./words.js";

const LOOK_MS = 3000;
const COPIED_MS = 2000;
const INVITATION_SECONDS = 12 * 3600;

export class RoomCard {
  #node;
  #tools;
  #room = null;
  #told = null; // the room's explain
  #people = [];
  #invitation = element("div", { class: "stack", "data-key": "invitation" });
  #timer = 0;
  #history = null;
  #timeline = null;
  roomId = null;

  /** tools: {act, ask, key, streams} of the console; `streams()`: where rooms' histories are. */
  constructor(node, tools) {
    this.#node = node;
    this.#tools = tools;
  }

  open(roomId) {
    this.roomId = roomId;
    this.#told = null;
    this.#people = [];
    this.#invitation.replaceChildren(...this.#inviteForm());
    this.#follow();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#look();
  }

  /** Where it stands below a long list: into sight. */
  show() {
    this.#node.scrollIntoView({ block: "nearest" });
  }

  /** Nothing is shown where no history is written. */
  #follow() {
    this.#history?.close();
    const streams = this.#tools.streams();
    this.#timeline = streams ? new Timeline(this.roomId) : null;
    const changed = () => this.#timeline.draw(this.#history);
    this.#history = streams ? new History(`${streams}/${this.roomId}`, changed) : null;
    if (streams) changed();
  }

  #close() {
    clearInterval(this.#timer);
    this.#history?.close();
    this.roomId = null;
    this.#node.hidden = true;
  }

  /** The rooms as they are pushed; explain is asked again when ours changed. */
  update(rooms) {
    if (this.roomId === null) return;
    const room = rooms.get(this.roomId);
    if (!room) return this.#close();
    const changed = room !== this.#room;
    this.#room = room;
    if (changed) this.#look();
    this.#draw();
  }

  async #look() {
    const roomId = this.roomId;
    const [told, present] = await Promise.all([
      this.#ask("explain").catch(() => null),
      this.#ask("participants").catch(() => null),
    ]);
    if (roomId !== this.roomId) return;
    this.#told = told ?? this.#told;
    this.#people = present?.participants ?? this.#people;
    this.#draw();
  }

  #ask(what) {
    return call("GET", `${roomPath(this.roomId)}/${what}`, { key: this.#tools.key() });
  }

  // --- drawing ---

  #draw() {
    if (!this.#room || this.#room.roomId !== this.roomId) return;
    this.#node.hidden = false;
    fill(
      this.#node,
      this.#head(),
      this.#buttons(),
      this.#told ? element("p", { "data-key": "reason" }, this.#told.reason) : null,
      this.#present(),
      this.#invitation,
      this.#places(),
      this.#times(),
      this.#timeline?.node,
    );
  }

  #head() {
    const [word, kind] = STATUS[this.#room.status] ?? [this.#room.status, ""];
    return element(
      "div",
      { class: "row spread", "data-key": "head" },
      element("h2", {}, this.roomId),
      element("span", { class: `badge ${kind}` }, word),
    );
  }

  #places() {
    const { janus, mixer } = this.#room;
    if (!janus || !mixer) return null;
    const placed = this.#told?.placed ?? {};
    const line = (name, half, why) => [
      element("dt", {}, name),
      element("dd", {}, `${half.moduleId} · ${half.status ?? "not yet there"}`, whyNode(why)),
    ];
    return element(
      "dl",
      { class: "facts" },
      ...line("Janus", janus, placed.janus),
      ...line("Mixer", mixer, placed.mixer),
    );
  }

  #times() {
    const { createdAt, startedAt, onAirAt } = this.#room;
    const steps = [
      ["created", createdAt],
      ["started", startedAt],
      ["on air", onAirAt],
    ].filter(([, time]) => time);
    const step = ([word, time]) =>
      element("li", {}, element("time", { datetime: time, title: time }, `${word} ${ago(time)}`));
    const moved = this.#timeline ? null : this.#told?.moved; // the history says it
    return element(
      "ol",
      { class: "timeline small" },
      ...steps.map(step),
      moved ? element("li", {}, `last moved: ${moved}`) : null,
    );
  }

  #present() {
    if (!ON_AIR.includes(this.#room.status)) return null;
    if (this.#people.length === 0) {
      return element("p", { class: "faint" }, "No host is in the room: listeners hear silence.");
    }
    return element("ul", { class: "people" }, ...this.#people.map((one) => this.#person(one)));
  }

  #person(one) {
    const path = `${roomPath(this.roomId)}/participants/${encodeURIComponent(one.userId)}`;
    const verb = one.muted ? "unmute" : "mute";
    const run = (what) => async () => {
      await this.#tools.act("POST", `${path}/${what}`);
      this.#look();
    };
    const state = one.muted ? ["muted", "warn"] : one.status === "live" ? ["live", "good"] : [one.status, ""];
    return element(
      "li",
      { class: "person row spread", "data-key": one.userId },
      element("span", { class: "name" }, one.display || one.userId),
      element(
        "span",
        { class: "row" },
        element("span", { class: `badge ${state[1]}` }, state[0]),
        button(one.muted ? "Unmute" : "Mute", `${verb} ${one.userId}`, run(verb)),
        button("Remove", `kick ${one.userId}`, run("kick")),
      ),
    );
  }

  // --- links and deeds ---

  #inviteForm() {
    const user = element("input", { id: "invitee", required: true, maxlength: 128, autocomplete: "off" });
    const moderates = element("input", { type: "checkbox", class: "check" });
    const submit = async (event) => {
      event.preventDefault();
      await this.#invite(user.value.trim(), moderates.checked);
    };
    return [
      element(
        "form",
        { class: "row", onsubmit: submit },
        element("label", { class: "grow" }, "Invite a host", user),
        element("label", { class: "check-label" }, moderates, " moderator"),
        element("button", { type: "submit" }, "Make the link"),
      ),
    ];
  }

  async #invite(userId, moderates) {
    const grants = moderates ? ["air", "moderate"] : ["air"];
    const body = { userId, role: "host", ttlSeconds: INVITATION_SECONDS, grants };
    const made = await this.#tools.act("POST", `${roomPath(this.roomId)}/tokens`, body);
    if (!made) return;
    const link = new URL(`/studio/${encodeURIComponent(this.roomId)}`, location.origin);
    link.searchParams.set("token", made.token);
    const shown = element("input", { readonly: true, value: link.href, "aria-label": "Studio link" });
    this.#invitation.replaceChildren(
      ...this.#inviteForm(),
      element("p", { class: "small" }, `For ${userId}, for 12 hours. Whoever has this link is ${userId}.`),
      element(
        "div",
        { class: "row" },
        element("span", { class: "grow" }, shown),
        copyButton(link.href),
        element("a", { class: "button small", href: link.href, target: "_blank", rel: "noopener" }, "Open the studio"),
      ),
    );
    shown.select();
  }

  #buttons() {
    const onAir = ON_AIR.includes(this.#room.status);
    const verb = onAir ? "stop" : "start";
    const run = () => this.#tools.act("POST", `${roomPath(this.roomId)}/${verb}`);
    const listen = `/listen/${encodeURIComponent(this.roomId)}`;
    return element(
      "div",
      { class: "row", "data-key": "buttons" },
      button(onAir ? "Stop" : "Start", `card run`, run, onAir ? "small" : "small primary"),
      element("a", { class: "button small", href: listen, target: "_blank", rel: "noopener" }, "Listen"),
      button("Delete", "card delete", () => this.#delete(), "small danger"),
    );
  }

  async #delete() {
    const words = "It and all that belongs to it are removed. Listeners hear no more.";
    if (await this.#tools.ask(`Delete ${this.roomId}?`, words, "Delete")) {
      await this.#tools.act("DELETE", roomPath(this.roomId));
    }
  }
}

function whyNode(why) {
  return why ? element("span", { class: "faint small why" }, why) : null;
}

function copyButton(text) {
  const made = button("Copy", "copy", async () => {
    await navigator.clipboard.writeText(text);
    say(made, "Copied");
    setTimeout(() => say(made, "Copy"), COPIED_MS);
  });
  return made;
}
