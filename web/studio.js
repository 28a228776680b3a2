// The studio page: choose a microphone, go live, see who is here. The sound is `lib/show.js`'s.

import { ApiError, call, roomPath } from "./lib/api.js";
import { byId, element, fill, roomOfPage, say } from "./lib/dom.js";
import { Microphone, MicrophoneError } from "./lib/microphone.js";
import { Show } from "./lib/show.js";
import { claims, takeToken } from "./lib/token.js";
import { ON_AIR, STATUS } from "./lib/words.js";

const LOOK_MS = 3000;
// What a host is told differently from those who run the place.
const BADGES = {
  ...STATUS,
  degraded: ["on air, being repaired", "warn"],
  removing: ["being deleted", "warn"],
};
const NETWORK = {
  connecting: "Connecting…",
  joined: "Connected. Setting up the sound…",
  live: "You are live.",
  reconnecting: "The connection was lost. Connecting again by itself…",
  blocked: "No sound gets through: this network may block UDP. Trying again; another one may help.",
};
const OVER = {
  left: "You have left the room.",
  expired: "Your invitation has run out, or was taken back. Ask for a new link.",
  kicked: "A moderator has removed you from the room.",
  closed: "The broadcast has ended.",
  elsewhere: "You are already in this room in another tab or on another device.",
  "taken-over": "You have joined from another tab or device; this one is out.",
  full: "The room is full.",
  refused: "The server has closed the connection.",
  unreachable: "The server cannot be reached. Check the network, then try again.",
  failed: "Something went wrong on this page.",
};
const ASKED = {
  mutedBy: "has muted you. You can unmute yourself.",
  unmutedBy: "has unmuted you: you are heard again.",
  unmuteRequested: "asks you to unmute yourself.",
};

const roomId = roomOfPage();
const token = takeToken(roomId);
const me = token ? claims(token) : null;
const may = (grant) => (me?.grants ?? []).includes(grant);
const microphone = new Microphone(byId("meter"));
let show = null;
let status = null;
let muted = false;
let isOut = false; // for good: this invitation is worth nothing any more

// --- words ---

function notice(words, kind = "") {
  byId("notice").hidden = !words;
  byId("notice").className = `notice ${kind}`;
  say(byId("notice"), words);
}

function showStatus() {
  const [word, kind] = BADGES[status] ?? ["", ""];
  say(byId("badge"), word);
  byId("badge").className = `badge ${kind}`;
  const onAir = ON_AIR.includes(status);
  say(byId("go"), onAir ? "Join" : "Go live");
  byId("go").disabled = !onAir && !may("air");
  if (!show && microphone.track && !onAir && !may("air")) {
    say(byId("network"), "The room is not on air yet. You can join when it is.");
  }
  byId("stop").hidden = !may("air");
}

function showNetwork(state) {
  say(byId("network"), NETWORK[state]);
  byId("network").classList.toggle("air", state === "live");
}

function showPeople(people) {
  const order = [...people].sort((a, b) => (b.you ?? 0) - (a.you ?? 0));
  fill(byId("people"), ...order.map(person));
  byId("nobody").hidden = people.length > 0;
}

function person(one) {
  const name = one.display || one.userId;
  return element(
    "li",
    {
      class: `person row spread${one.talking && !one.muted ? " talking" : ""}`,
      "data-key": one.userId,
    },
    element("span", { class: "name" }, one.you ? `${name} (you)` : name),
    element("span", { class: "row" }, badgeOf(one), ...moderation(one)),
  );
}

function badgeOf(one) {
  if (one.muted) return element("span", { class: "badge warn" }, "muted");
  if (one.talking) return element("span", { class: "badge good" }, "talking");
  return element("span", { class: "badge" }, one.live ? "quiet" : "connecting");
}

function moderation(one) {
  if (one.you || !may("moderate")) return [];
  const action = one.muted ? "unmute" : "mute";
  const button = (verb, words) =>
    element(
      "button",
      {
        type: "button",
        class: "small",
        "data-key": verb === "kick" ? "kick" : "voice",
        onclick: () => moderate(one, verb),
        "aria-label": `${words} ${one.userId}`,
      },
      words,
    );
  return [button(action, one.muted ? "Ask to unmute" : "Mute"), button("kick", "Remove")];
}

async function moderate(one, verb) {
  const path = `${roomPath(roomId)}/participants/${encodeURIComponent(one.userId)}/${verb}`;
  await call("POST", path, { key: token }).catch((error) => notice(error.message, "bad"));
}

// --- the microphone ---

async function openMicrophone(deviceId = "") {
  try {
    await microphone.open(deviceId, { clean: byId("clean").checked });
  } catch (error) {
    if (!(error instanceof MicrophoneError)) throw error;
    return notice(error.message, "bad");
  }
  notice("");
  byId("mic-ask").hidden = true;
  byId("mic-ready").hidden = false;
  byId("settings").hidden = false;
  byId("before").hidden = show !== null;
  await show?.replaceTrack(microphone.track);
  await listDevices();
  showStatus();
}

async function allow() {
  await openMicrophone();
  if (microphone.track) byId("go").focus(); // the button that was pressed is gone
}

async function listDevices() {
  const found = await microphone.devices();
  const option = (one, n) =>
    element("option", { value: one.deviceId }, one.label || `Microphone ${n + 1}`);
  fill(byId("device"), ...found.map(option));
  byId("device").value = microphone.deviceId;
}

// --- the show ---

async function gateways() {
  return (await call("GET", "/pages/config")).gateways;
}

async function goLive(takeover = false) {
  byId("go").disabled = true;
  notice("");
  try {
    if (!ON_AIR.includes(status)) {
      say(byId("network"), "Putting the room on air…");
      await call("POST", `${roomPath(roomId)}/start?wait=15`, { key: token });
    }
    join(takeover);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notice(`The room could not be put on air: ${error.message}`, "bad");
    say(byId("network"), "");
    byId("go").disabled = false;
  }
}

function join(takeover) {
  show = new Show({
    gateways,
    token,
    takeover,
    display: me.sub,
    track: microphone.track,
    audio: byId("audio"),
  });
  show.addEventListener("state", ({ detail }) => showNetwork(detail));
  show.addEventListener("people", ({ detail }) => showPeople(detail));
  show.addEventListener("asked", ({ detail }) => asked(detail));
  show.addEventListener("over", ({ detail }) => over(detail));
  showMuted(false);
  byId("before").hidden = true;
  byId("during").hidden = false;
  byId("mic-words").hidden = true;
  byId("settings").open = false;
  byId("mute").focus(); // the button that was pressed is gone
  show.start();
  look();
}

function setMuted(wanted) {
  showMuted(wanted);
  notice("");
  show.setMuted(wanted);
}

function showMuted(wanted) {
  muted = wanted;
  byId("mute").setAttribute("aria-pressed", String(muted));
  say(byId("mute"), muted ? "Unmute" : "Mute");
}

function asked({ method, params }) {
  if (method !== "unmuteRequested") showMuted(method === "mutedBy");
  notice(`${params.by} ${ASKED[method]}`, "warn");
}

function over({ reason, words }) {
  show = null;
  showPeople([]);
  byId("before").hidden = false;
  byId("during").hidden = true;
  byId("mic-words").hidden = false;
  say(byId("network"), "");
  notice(OVER[reason] ?? words, reason === "left" ? "" : "warn");
  byId("go").disabled = false;
  if (reason === "elsewhere") offerTakeover();
  isOut = ["expired", "kicked"].includes(reason);
  byId("before").hidden = isOut;
  look();
}

function offerTakeover() {
  const button = element("button", { type: "button", onclick: () => goLive(true) }, "Join here");
  byId("notice").append(" ", button);
}

async function stop() {
  byId("confirm").returnValue = ""; // or Esc would answer as the last time
  byId("confirm").showModal();
  byId("confirm").addEventListener("close", stopIfConfirmed, { once: true });
}

async function stopIfConfirmed() {
  if (byId("confirm").returnValue !== "stop") return;
  await call("POST", `${roomPath(roomId)}/stop`, { key: token }).catch((error) =>
    notice(error.message, "bad"),
  );
  look();
}

// --- the room ---

async function look() {
  if (isOut) return;
  try {
    status = (await call("GET", roomPath(roomId), { key: token })).status;
    showStatus();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 && !show && !isOut) refuse(OVER.expired);
    else if (error.status === 404) refuse("There is no such room.");
  }
}

function refuse(words) {
  byId("desk").hidden = true;
  notice(words, "warn");
}

async function copyLink() {
  await navigator.clipboard.writeText(byId("listen-link").href);
  say(byId("copy"), "Copied");
  setTimeout(() => say(byId("copy"), "Copy the link"), 2000);
}

async function begin() {
  say(byId("title"), roomId);
  document.title = `${roomId} · Studio`;
  if (!me || me.role !== "host" || me.room !== roomId) {
    return refuse(
      "You need an invitation to this studio: open the link you were sent, or make one with " +
        `./onair token ${roomId} --user YOU --role host`,
    );
  }
  say(byId("who"), `You are ${me.sub}.`);
  const link = new URL(`/listen/${encodeURIComponent(roomId)}`, location.origin);
  byId("listen-link").href = link;
  say(byId("listen-link"), link.href);
  byId("desk").hidden = false;
  await look();
  setInterval(look, LOOK_MS);
  const permission = await navigator.permissions?.query({ name: "microphone" }).catch(() => null);
  if (permission?.state === "granted") await openMicrophone();
}

byId("allow").addEventListener("click", allow);
byId("clean").addEventListener("change", () => openMicrophone(microphone.deviceId));
byId("device").addEventListener("change", ({ target }) => openMicrophone(target.value));
byId("go").addEventListener("click", () => goLive());
byId("mute").addEventListener("click", () => setMuted(!muted));
byId("leave").addEventListener("click", () => show?.leave());
byId("stop").addEventListener("click", stop);
byId("copy").addEventListener("click", copyLink);
navigator.mediaDevices?.addEventListener("devicechange", () => microphone.track && listDevices());
begin();
