// The listen page: one button, and in words what is heard or why nothing is.

import { ApiError, call, roomPath } from "./lib/api.js";
import { byId, roomOfPage, say } from "./lib/dom.js";
import { showLevel } from "./lib/meter.js";
import { Player } from "./lib/player.js";

const WORDS = {
  idle: ["off", "", "Press play to listen."],
  starting: ["starting", "warn", "Starting…"],
  live: ["live", "air", "Live"],
  interrupted: ["interrupted", "warn", "Interrupted. It goes on by itself."],
  ended: ["ended", "", "The broadcast has ended. It plays again when the room is back on air."],
  off: ["off air", "", "Not on air yet. It begins to play when the room goes on air."],
};
const PLAY = "M7 4v16l13-8z";
const STOP = "M6 6h12v12H6z";

const roomId = roomOfPage();
const audio = byId("audio");
const player = new Player(audio);
let pin;
let sound = null; // the audio context and analyser, made in the first click

// --- showing ---

function show(state) {
  const [word, kind, words] = WORDS[state];
  const playing = state !== "idle";
  say(byId("state"), words);
  say(byId("badge"), word);
  byId("badge").className = `badge ${kind}`;
  byId("play").setAttribute("aria-label", playing ? "Stop" : "Play");
  byId("play-shape").setAttribute("d", playing ? STOP : PLAY);
  byId("play").classList.toggle("pulse", state === "starting" || state === "interrupted");
  byId("meter").hidden = !(sound && playing);
  if ("mediaSession" in navigator) navigator.mediaSession.playbackState = playing ? "playing" : "paused";
}

function showLatency() {
  const seconds = player.latency;
  say(byId("latency"), seconds === null ? "\u00a0" : `about ${Math.round(seconds)} s behind the studio`);
}

function refuse(words) {
  player.stop();
  say(byId("state"), words);
}

function askPin(words) {
  player.stop();
  byId("pin-form").hidden = false;
  byId("play").hidden = true;
  byId("pin-error").hidden = !words;
  say(byId("pin-error"), words ?? "");
  say(byId("state"), "This room has a PIN.");
  byId("pin").focus();
}

// --- playing ---

/** The playlist's address: with a token for a room with a PIN. Throws ApiError. */
async function address() {
  const path = `/hls/${encodeURIComponent(roomId)}/live.m3u8`;
  const given = await call("POST", `${roomPath(roomId)}/listen`, { body: pin ? { pin } : {} });
  return pin ? `${path}?token=${encodeURIComponent(given.token)}` : path;
}

/** A meter for what is played. Where the browser plays HLS itself it would stay at zero. */
function tap() {
  if (sound || !("MediaSource" in window || "ManagedMediaSource" in window)) return;
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaElementSource(audio).connect(analyser).connect(context.destination);
  sound = { context, analyser };
  showLevel(analyser, byId("meter"));
}

async function listen() {
  tap();
  sound?.context.resume();
  audio.play().catch(() => {}); // within the click: later plays need none
  show("starting");
  try {
    const url = await address();
    byId("pin-form").hidden = true;
    byId("play").hidden = false;
    player.play(url);
  } catch (error) {
    explain(error);
  }
}

function explain(error) {
  if (!(error instanceof ApiError)) throw error;
  show("idle");
  if (error.code === "wrong-pin") askPin(pin ? "That is not the PIN of this room." : null);
  else if (error.status === 429) askPin("Too many wrong PINs. Wait a minute, then try again.");
  else if (error.status === 404) refuse("There is no such room.");
  else refuse(`${error.message} Press play to try again.`);
}

// --- wiring ---

say(byId("title"), roomId);
document.title = `${roomId} · Onair`;
show("idle");
player.addEventListener("state", ({ detail }) => {
  if (detail === "needs-token") listen(); // it is over: ask anew, with the PIN that is known
  else show(detail);
});
byId("play").addEventListener("click", () => (player.state === "idle" ? listen() : player.stop()));
byId("volume").addEventListener("input", ({ target }) => (audio.volume = Number(target.value)));
byId("pin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  pin = byId("pin").value;
  listen();
});
setInterval(showLatency, 1000);
if ("mediaSession" in navigator) {
  navigator.mediaSession.metadata = new MediaMetadata({ title: roomId, artist: "Onair" });
  navigator.mediaSession.setActionHandler("play", listen);
  navigator.mediaSession.setActionHandler("pause", () => player.stop());
}
// iOS has hardware buttons for it, and a slider without effect
audio.volume = 0.5;
byId("volume-label").hidden = audio.volume !== 0.5;
audio.volume = 1;
