// One line for a room, one card for a module.

import { roomPath } from "./api.js";
import { element } from "./dom.js";
import { HEALTH, ON_AIR, STATUS } from "./words.js";

const badge = ([word, kind]) => element("span", { class: `badge ${kind}` }, word);

/** `key`: tells it apart from its neighbours when all is drawn anew. */
export function button(words, key, onclick, kind = "small") {
  return element("button", { type: "button", class: kind, "data-key": key, onclick }, words);
}

export function roomRow(room, chosen, choose, { act }) {
  const { roomId } = room;
  const onAir = ON_AIR.includes(room.status);
  const verb = onAir ? "stop" : "start";
  const run = () => act("POST", `${roomPath(roomId)}/${verb}`);
  const name = button(roomId, `open ${roomId}`, () => choose(roomId), "quiet name");
  if (roomId === chosen) name.setAttribute("aria-current", "true");
  const toggle = button(onAir ? "Stop" : "Start", `run ${roomId}`, run);
  toggle.setAttribute("aria-label", `${onAir ? "Stop" : "Start"} ${roomId}`);
  toggle.disabled = ["stopping", "removing"].includes(room.status);
  return element(
    "li",
    { class: `card tight row spread${roomId === chosen ? " chosen" : ""}`, "data-key": roomId },
    element(
      "span",
      { class: "row tied" },
      name,
      room.hasPin ? element("span", { class: "faint small" }, "PIN") : null,
    ),
    element(
      "span",
      { class: "row" },
      badge(STATUS[room.status] ?? [room.status, ""]),
      toggle,
    ),
  );
}

export function moduleCard(one, { act, ask }) {
  const name = `${one.kind}/${one.moduleId}`;
  return element(
    "li",
    { class: "card tight stack", "data-key": name },
    element(
      "div",
      { class: "row spread" },
      element("strong", { class: "name" }, name),
      element(
        "span",
        { class: "row" },
        one.mark === "ready" ? null : badge([one.mark, "warn"]),
        badge(HEALTH[one.health] ?? [one.health, ""]),
      ),
    ),
    load(one, name),
    one.reason ? element("p", { class: "small" }, one.reason) : null,
    element(
      "div",
      { class: "row spread" },
      element("span", { class: "faint small" }, [one.host, one.version].filter(Boolean).join(" · ")),
      markButton(one, name, act, ask),
    ),
  );
}

/** How full it is, as a bar and in figures. */
function load(one, name) {
  const bar = element("meter", {
    min: 0,
    max: Math.max(1, one.capacity),
    high: Math.max(1, one.capacity) * 0.85,
    value: one.used,
    "aria-label": `places taken on ${name}`,
  });
  const figures = `${one.used} of ${one.capacity} places`;
  return element("div", { class: "load" }, bar, element("span", { class: "small" }, figures));
}

function markButton(one, name, act, ask) {
  const path = `/api/modules/${one.kind}/${encodeURIComponent(one.moduleId)}/mark`;
  if (one.mark !== "ready") {
    const ready = () => act("PUT", path, { mark: "ready" });
    return button("Take rooms again", `mark ${name}`, ready);
  }
  const drain = async () => {
    const words =
      one.kind === "mixer"
        ? "It gets no new rooms, and its rooms move to other mixers without a gap."
        : "It gets no new rooms; its rooms stay until they end.";
    if (await ask(`Drain ${name}?`, words, "Drain")) await act("PUT", path, { mark: "draining" });
  };
  return button("Drain", `mark ${name}`, drain);
}
