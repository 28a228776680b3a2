// The microphone: permission, choice of device, level; failures in words that say what to do.

import { showLevel } from "./meter.js";

/** Why there is no microphone. */
export class MicrophoneError extends Error {}

const WORDS = {
  NotAllowedError:
    "This page may not use the microphone. Allow it in the browser's address bar, then try again.",
  NotFoundError: "No microphone was found. Plug one in, then try again.",
  NotReadableError: "The microphone is in use by another program, or does not work.",
  OverconstrainedError: "That microphone is gone. Choose another one.",
};

export class Microphone {
  #bar;
  #context = null;
  #source = null;
  #analyser = null;
  track = null;

  constructor(bar) {
    this.#bar = bar;
  }

  /**
   * Open a device (empty: the browser's choice). `clean`: without echo and noise and at an even
   * level, as suits a voice; it takes music for noise. Throws MicrophoneError.
   */
  async open(deviceId, { clean }) {
    if (!navigator.mediaDevices) {
      throw new MicrophoneError("Browsers give the microphone to secure pages only: use https.");
    }
    const audio = { echoCancellation: clean, noiseSuppression: clean, autoGainControl: clean };
    if (deviceId) audio.deviceId = { exact: deviceId };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      this.#use(stream);
    } catch (error) {
      throw new MicrophoneError(WORDS[error.name] ?? `The microphone failed: ${error.message}`);
    }
    return this.track;
  }

  /** Microphones there are; with names only once one was opened. */
  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter((one) => one.kind === "audioinput");
  }

  get deviceId() {
    return this.track?.getSettings().deviceId ?? "";
  }

  #use(stream) {
    this.track?.stop();
    this.track = stream.getAudioTracks()[0];
    this.#context ??= new AudioContext();
    this.#context.resume();
    if (!this.#analyser) {
      this.#analyser = this.#context.createAnalyser();
      showLevel(this.#analyser, this.#bar);
    }
    this.#source?.disconnect();
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }
}
