// The console: what runs where, pushed by the server; and the few things an operator does.

import { ApiError, call, roomPath } from "./lib/api.js";
import { byId, element, fill, say } from "./lib/dom.js";
import { follow } from "./lib/live.js";
import { moduleCard, roomRow } from "./lib/fleet.js";
import { RoomCard } from "./lib/roomcard.js";

const KEY = "onair.key";
const MOST_SHOWN = 200;
const LINK = {
  live: ["live", "good"],
  lost: ["connection lost, trying again", "warn"],
  refused: ["not signed in", ""],
};

let key = null;
let following = null;
let streams = null; // where rooms' histories are, if they are written
const rooms = new Map();
const modules = new Map();
const actions = { act, ask };
const card = new RoomCard(byId("room"), { ...actions, key: () => key, streams: () => streams });

// --- the key ---

/** From the address's fragment, which no server ever sees, or from this tab's memory. */
function knownKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return given ?? sessionStorage.getItem(KEY);
}

function askForKey(words = "") {
  sessionStorage.removeItem(KEY);
  byId("desk").hidden = true;
  byId("forget").hidden = true;
  byId("key-form").hidden = false;
  byId("key-error").hidden = !words;
  say(byId("key-error"), words);
  byId("key").focus();
}

async function open(given) {
  streams ??= (await call("GET", "/pages/config").catch(() => ({}))).history ?? null;
  key = given;
  sessionStorage.setItem(KEY, given);
  byId("key-form").hidden = true;
  byId("forget").hidden = false;
  following?.abort();
  following = new AbortController();
  follow({ key, signal: following.signal, tell, state: showLink });
}

function signOut() {
  following?.abort();
  showLink("refused");
  askForKey();
}

// --- what the server pushes ---

function tell(event, data) {
  if (event === "snapshot") {
    rooms.clear();
    for (const room of data.rooms) rooms.set(room.roomId, room);
    takeModules(data.modules);
    byId("desk").hidden = false;
  } else if (event === "room") rooms.set(data.roomId, data);
  else if (event === "roomGone") rooms.delete(data.roomId);
  else if (event === "modules") takeModules(data.modules);
  redraw();
}

function takeModules(found) {
  modules.clear();
  for (const one of found) modules.set(`${one.kind}/${one.moduleId}`, one);
}

function showLink(state) {
  const [word, kind] = LINK[state];
  say(byId("link"), word);
  byId("link").className = `badge ${kind}`;
  if (state === "refused") askForKey("That is not the API key of this Onair.");
}

// --- drawing: at most once a frame, however much is pushed ---

let drawn = true;

function redraw() {
  if (!drawn) return;
  drawn = false;
  requestAnimationFrame(() => {
    drawn = true;
    drawRooms();
    drawModules();
    card.update(rooms);
  });
}

function drawRooms() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = [...rooms.values()]
    .filter((room) => room.roomId.toLowerCase().includes(wanted))
    .sort((a, b) => (a.roomId < b.roomId ? -1 : 1));
  const onAir = [...rooms.values()].filter((room) => room.status === "onair").length;
  say(byId("rooms-count"), rooms.size ? `${onAir} on air of ${rooms.size}` : "");
  const shown = found.slice(0, MOST_SHOWN);
  fill(byId("rooms"), ...shown.map((room) => roomRow(room, card.roomId, choose, actions)), more(found));
  byId("no-rooms").hidden = rooms.size > 0;
}

function more(found) {
  const hidden = found.length - MOST_SHOWN;
  return hidden > 0 ? element("li", { class: "faint" }, `and ${hidden} more: filter by name`) : null;
}

function drawModules() {
  const order = [...modules.values()].sort((a, b) =>
    `${a.kind}/${a.moduleId}` < `${b.kind}/${b.moduleId}` ? -1 : 1,
  );
  fill(byId("modules"), ...order.map((one) => moduleCard(one, actions)));
  byId("no-modules").hidden = modules.size > 0;
}

function choose(roomId) {
  card.open(roomId);
  redraw();
  requestAnimationFrame(() => card.show()); // after it is drawn
}

// --- doing ---

/** One call; what goes wrong is shown at the top. Answers the result, or null. */
async function act(method, path, body) {
  try {
    const done = await call(method, path, { key, body });
    notice("");
    return done;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notice(error.message);
    return null;
  }
}

function notice(words) {
  byId("notice").hidden = !words;
  say(byId("notice"), words);
}

/** Ask before something that cannot be undone; answers whether to do it. */
function ask(title, words, yes) {
  say(byId("confirm-title"), title);
  say(byId("confirm-words"), words);
  say(byId("confirm-yes"), yes);
  byId("confirm").returnValue = "";
  byId("confirm").showModal();
  return new Promise((resolve) =>
    byId("confirm").addEventListener(
      "close",
      () => resolve(byId("confirm").returnValue === "yes"),
      { once: true },
    ),
  );
}

async function create(event) {
  event.preventDefault();
  const body = {};
  if (byId("new-id").value) body.roomId = byId("new-id").value;
  if (byId("new-pin").value) body.pin = byId("new-pin").value;
  const made = await act("POST", "/api/rooms", body);
  if (!made) return;
  byId("create").reset();
  rooms.set(made.roomId, made);
  choose(made.roomId);
}

function firstCurl() {
  return [
    `curl -X POST ${location.origin}/api/rooms \\`,
    '  -H "Authorization: Bearer API-KEY" \\',
    "  -H 'Content-Type: application/json' \\",
    `  -d '{"roomId": "blue"}'`,
    `curl -X POST '${location.origin}/api/rooms/blue/start?wait=10' \\`,
    '  -H "Authorization: Bearer API-KEY"',
  ].join("\n");
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  open(byId("key").value.trim());
});
byId("forget").addEventListener("click", signOut);
byId("create").addEventListener("submit", create);
byId("filter").addEventListener("input", redraw);
say(byId("first-curl"), firstCurl());
const known = knownKey();
if (known) open(known);
else askForKey();
